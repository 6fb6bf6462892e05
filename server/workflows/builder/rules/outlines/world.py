"""Outlines for science, technology, health and school. See `outlines/__init__.py`."""

from typing import Final

WORLD: Final = {
    "science": """
1 A question to begin with
Opens with something that everybody has seen and few can explain.
- Something that can be observed
- What most people think about it
- What is surprising about it
visual: A photograph that raises a question
1 What it is, in plain words
Explains the idea with a comparison from everyday life.
- The idea in one sentence
- A comparison that helps
- What it is often confused with
visual: The comparison as a picture
2 How it works
Goes through it step by step; no step takes more than one sentence.
- What goes in
- What happens inside
- What comes out
diagram: The steps with arrows
2 How we know
Shows the observation or experiment behind the knowledge.
- What people believed before
- The observation that changed it
- What is still open
visual: The experiment as a drawing
2 The figures behind it
Chooses three figures, and makes each of them imaginable.
- How large, how many, how fast
- Compared with something familiar
- How it has changed over time
data: One chart with a clear title
3 Where we meet it every day
Brings it into the life of the people in the room.
- An example at home
- An example outdoors
- An example in the news
visual: Three photographs from everyday life
3 Why it matters for the future
Shows what depends on it, and what can be done.
- What changes if it changes
- What is being tried already
- What each of us can do
diagram: Two possible futures, side by side
""",
    "technology": """
1 What it is, and what it is not
Clears up the word before using it.
- A definition without jargon
- An example that everybody has used
- A common misunderstanding
visual: One everyday example
1 Why now
Explains what has changed so that it suddenly matters.
- What was missing before
- What became cheap or fast
- Who is using it already
data: One line that rises
2 How it works, step by step
Opens the box just far enough.
- What goes in
- What happens inside
- What comes out, and how sure it is
diagram: Input, steps, output
2 What it is good for
Shows three uses, from everyday to unusual.
- A use that saves time
- A use that was impossible before
- A use in our own field
visual: Three uses, each with one word
2 Limits and risks
Says honestly what it cannot do and what can go wrong.
- Where it fails
- Security, privacy and cost
- Who bears the risk
diagram: Risks by likelihood and effect
3 What it means for us
Brings it to the people in the room.
- What will change first
- Which skills will be needed
- What we should not do
visual: A working day, today and tomorrow
3 First steps to try it
Makes starting small and safe.
- A small experiment
- What it takes
- How we tell whether it worked
diagram: Try, measure, decide
""",
    "health": """
1 What it is about
Explains it in words that one would use at the kitchen table.
- What happens in the body or mind
- How many people it concerns
- What is often believed, but not true
visual: A simple drawing, without medical terms
1 Signs to notice
Lists the signs, the early ones first.
- Early signs
- Signs to take seriously at once
- Whom to ask
visual: Signs as simple symbols
2 Causes and risks
Separates what one can change from what one cannot.
- What cannot be changed
- Habits that raise the risk
- Habits that lower it
diagram: Two columns: given, and in our hands
2 What helps
Names what is known to work, from small to large.
- What one can do alone
- What works better together
- What professionals offer
diagram: A ladder from small steps to treatment
2 Small steps for every day
Chooses steps so small that they get done.
- In the morning
- At work or at school
- In the evening
visual: A day as a clock
2 Myths and facts
Takes three popular beliefs and checks them.
- A harmless myth
- A dangerous myth
- A surprising fact
visual: Myth and fact, side by side
3 Where to find help
Gives addresses and words for the first step.
- Whom to talk to first
- Where to find reliable information
- How to help somebody else
visual: Contacts to photograph
""",
    "lesson": """
1 What we will find out today
Sets the goal and wakes curiosity.
- The question of today
- What we know already
- What will be new
visual: A picture with a riddle
1 The basic idea
Explains the core with one example.
- The rule or idea, in one sentence
- One example, step by step
- How to remember it
visual: The example, large
2 Looking closer
Takes the idea apart.
- The first part
- The second part
- How the parts belong together
diagram: The parts, labelled
2 Worked example
Thinks aloud from the question to the answer.
- Read the question
- Choose the way
- Check the answer
diagram: The way to the answer in three steps
2 Your turn
Lets everybody try, first alone, then in pairs.
- A task for everyone
- A harder task for the quick ones
- Compare with your neighbour
visual: The tasks, large
2 Careful: easy to get wrong
Shows typical mistakes before they are made.
- The most common mistake
- Why it looks right
- How to avoid it
visual: Wrong and right, side by side
3 Quiz
Checks what has been understood, with a smile.
- An easy question
- A tricky question
- A question to think about at home
visual: Answers A, B and C
""",
}
