"""Outlines that fit any topic: used alone, or after those of a kind. See `outlines/__init__.py`."""

from typing import Final

COMMON: Final = """
1 Reasons to care about {topic}
Gives people a reason to listen before it gives them facts.
- What it has to do with the people in the room
- What happens without it
- The question that we will answer
visual: One picture that says why
1 {Topic} in one minute
Tells the whole thing in short; the rest fills it in.
- What it is
- Where it comes from
- What it leads to
visual: A simple sketch of the whole
2 The three main points
Names what people should still know next week.
- The first point, with an example
- The second point, with an example
- The third point, with an example
diagram: Three columns, one word each
2 A closer look at one example
Follows a single example from beginning to end.
- Where it starts
- What happens, and why
- What it shows
visual: The example in one large picture
3 Questions people often ask
Takes up what somebody in the room is thinking.
- What beginners ask
- What sceptics ask
- What experts ask
visual: Three questions in speech bubbles
3 What to do next
Ends in something that can be done.
- A first step for today
- A step for this month
- Where to find more
diagram: Today, this month, this year
1 Where we start from
Collects what is known already, and what is only believed.
- What most people know
- What most people get wrong
- What this presentation adds
diagram: Known, believed, new
1 The key words
Explains the few terms without which the rest stays foggy.
- The most important term
- Two terms that are often mixed up
- A term we can do without
visual: Terms, each with a small picture
1 How it came about
Looks back, briefly: nothing is as it is by chance.
- The beginning
- The decisive change
- The present state
diagram: A timeline with three dates
2 The people involved
Shows who acts, who decides and who is affected.
- Those who act
- Those who decide
- Those who are affected
diagram: A map of the people and their connections
2 The parts and how they fit together
Takes the topic apart and puts it together again.
- The parts
- How they depend on each other
- What holds them together
diagram: Parts with arrows between them
2 Facts and figures
Shows few figures, each with something to compare it with.
- A figure that surprises
- A figure that shows change
- A figure to remember
data: One chart with a clear message
2 A story from practice
Lets a person tell what no list can.
- The person and the situation
- The difficulty
- What was learned
visual: A photograph of the person or place
2 Two sides of it
Weighs up what speaks for it and what against it.
- What speaks for it
- What speaks against it
- What it depends on
diagram: Scales with arguments on both sides
2 What people often get wrong
Clears away a misunderstanding or two.
- A popular belief
- What is true in it
- How to say it better
visual: Belief and fact, side by side
2 A comparison that helps
Explains the unfamiliar with the familiar.
- What it is like
- Where the comparison fits
- Where it ends
visual: The two things side by side
2 Challenges along the way
Names what is difficult, and how others dealt with it.
- The hardest part
- What others tried
- What worked
diagram: Obstacle, attempt, result
2 Opportunities
Shows what could be gained.
- A gain that comes quickly
- A gain that takes time
- Who would benefit
diagram: Gains by effort and effect
2 Examples from elsewhere
Looks over the fence for ideas.
- Somebody who does it well
- What can be copied
- What is different here
visual: A map or a photograph of each example
3 What experience teaches
Gathers the lessons in plain sentences.
- Do this
- Avoid that
- When in doubt
visual: Three short rules, large
3 A look ahead
Dares a view of the next years.
- What is likely
- What is possible
- What we can influence
diagram: Paths into the future
3 What it means for you
Brings the topic to the people in the room.
- What changes for you
- What you can contribute
- What you should remember
visual: A picture of their own world
3 A short test
Lets people check what has stuck.
- True or false?
- What would you do?
- What was new to you?
visual: Three questions, answers on the next click
3 Words to remember
Leaves a sentence behind that says it all.
- The sentence
- Where it comes from
- Why it fits
visual: The sentence, large, on a calm background
3 Sources and further reading
Shows where all this comes from, and where to go on.
- A good start
- The best in-depth source
- Somebody to ask
visual: Covers or addresses to photograph
3 Acknowledgements
Thanks those who helped, by name.
- Who contributed facts or pictures
- Who gave advice
- Who made this presentation possible
visual: Names on a calm background
"""
