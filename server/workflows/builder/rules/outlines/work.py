"""Outlines for work: pitches, products, results, proposals, training. See `outlines/__init__.py`."""

from typing import Final

WORK: Final = {
    "pitch": """
1 The problem we saw
Opens with a person and a situation that everybody knows, not with the company.
- Who has the problem, and how often
- What it costs them: time, money, nerves
- What they do about it today, and why that is not enough
visual: A photograph of the situation
1 Our answer
Says in one sentence what {topic} does.
- What it is, without jargon
- The one benefit that counts most
- Why it was not possible before
visual: The product in use
2 How it works
Shows the way from the first contact to the result, in three steps.
- Step one: how it starts
- Step two: what happens
- Step three: what the customer has at the end
diagram: Three steps with arrows
2 The market
Shows that it is large enough, and who buys first.
- Whom we sell to first
- How many of them there are
- Where it grows from there
data: The market in three circles, with sources
2 What speaks for us
Puts proof on the table: figures, customers, quotations.
- The figure that grew most
- A customer, in their own words
- What we learned and changed
data: Growth as a simple line
2 Who else is there
Compares honestly, and says where {topic} is better.
- The strongest alternative
- What we do differently
- What would be hard to copy
diagram: A table of alternatives with three criteria
3 The team
Shows why these people will do it.
- Who leads, and what they did before
- Which skill is still missing
- Who supports us
visual: Faces, names and one line each
3 What we need, and what for
Makes a clear request with a clear use.
- What we ask for
- What it will be spent on
- What will be reached with it, and when
data: Use of the money as a bar
""",
    "product": """
1 The situation before it
Starts with the customer's day, before the product appears.
- What is tedious today
- What people have tried already
- What they would wish for
visual: A picture of the situation today
1 Meet {topic}
Presents it in one sentence and one picture.
- What it is
- Whom it is made for
- The one thing to remember
visual: The product, large and alone
2 Three things that people will love
Chooses three benefits, each with an example.
- Benefit one, with an example
- Benefit two, with an example
- Benefit three, with an example
visual: Three pictures with three words
2 See it at work
Shows one task from beginning to end.
- The starting point
- What one does
- The result, and how long it took
diagram: A short sequence of screens or steps
2 What people say about it
Lets users speak: what they liked, and what they asked for.
- A first reaction
- A result in figures
- A wish that we took up
data: One figure, large, with its source
3 Price, dates and availability
Answers the practical questions before they are asked.
- What it costs, and what is included
- When and where it can be had
- What help there is at the start
data: A small table of options
3 How to start
Asks for one easy step.
- The first step today
- What happens after that
- Whom to ask
visual: One address, large
""",
    "results": """
1 The result in one sentence
Gives the answer first; everything after it is the reason.
- Where we stand against the target
- The largest success
- The largest concern
data: Three figures: target, actual, difference
1 What we had set out to do
Recalls the targets, so that results can be judged fairly.
- The targets, and who set them
- What has changed around us since
- What was left out on purpose
data: Targets in one short table
2 The figures that matter
Shows few figures, each with a comparison.
- The development since the last period
- Compared with plan
- The outlier, and what lies behind it
data: A line or bar chart with at most two series
2 What went well, and why
Explains success, so that it can be repeated.
- The result, and the work behind it
- A decision that paid off
- The people who made it happen
visual: One success as a short story
2 What did not go well
Says it plainly, with the reason and without excuses.
- What was missed, and by how much
- The cause
- What has been changed since
data: The gap as a simple bar
3 What it means for the next period
Turns the results into an outlook.
- What we expect
- The main risk, and how it is watched
- The main opportunity
diagram: Best case, expected case, worst case
3 Decisions and next steps
Ends with what has to be done, by whom, until when.
- A decision that is needed now
- Next steps, with names and dates
- When we report again
data: A table of steps, names and dates
""",
    "proposal": """
1 What has to change
Describes the problem so that everybody in the room agrees on it.
- What happens today
- Whom it affects, and how much
- What happens if nothing is done
data: One figure that shows the size of the problem
1 The proposal in one sentence
Says what is proposed before it explains anything.
- What we propose
- What it will achieve
- What it is not
visual: The sentence, large
2 How it would work
Shows the idea in practice.
- What changes for whom
- What stays as it is
- A day after the change
diagram: Today and tomorrow, side by side
2 Alternatives that we looked at
Shows that the choice was made with open eyes.
- Doing nothing
- The cheaper way
- The larger way, and why not now
diagram: A table of options with three criteria
2 Costs and benefits
Puts money, time and effect next to each other.
- Costs, once and each year
- Benefits, and when they begin
- What cannot be counted but counts
data: Costs and benefits over time
3 Risks, and what we do about them
Names the risks before others do.
- The likeliest risk
- The most expensive risk
- How we would notice early
diagram: Risks by likelihood and effect
3 Timetable and first steps
Makes the beginning easy.
- The first thirty days
- Milestones, with dates
- Who is responsible
diagram: A timeline with milestones
""",
    "training": """
1 What you will be able to do
Names the goal as something that can be seen and tried.
- What you can do at the end
- What you need for it
- What we leave out today
visual: The finished result
1 Before you start
Lists tools, materials and preparation, so that nobody gets stuck later.
- Tools and materials
- What should be prepared
- What it takes in time
visual: Everything laid out on a table
2 The steps at a glance
Gives the whole before the parts.
- The first step, and how to tell that it worked
- The step that decides
- The last step
diagram: Numbered steps in a row
2 The difficult part, slowly
Takes time for the one step where beginners fail.
- What usually goes wrong
- How it should look or feel
- A trick of experienced people
visual: Wrong and right, side by side
2 Try it yourself
Lets people do it, in pairs, with little explanation.
- The task, in one sentence
- How much time there is
- What to do when stuck
visual: The task, large
2 Common mistakes, and how to mend them
Saves the first frustrations.
- The mistake everybody makes once
- The mistake that costs most time
- How to get back on track
diagram: Mistake, cause, remedy in three columns
3 Checklist to take home
Gives one page that is enough for the next time.
- Before
- During
- Afterwards
visual: A list to photograph
3 How to get better
Shows the way on from here.
- What to practise first
- Where to find help
- The next level
diagram: From beginner to expert in three steps
""",
}
