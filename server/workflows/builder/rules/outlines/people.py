"""Outlines for people, stories, places and the arts. How they are written: see `outlines/__init__.py`."""

from typing import Final

PEOPLE: Final = {
    "figure": """
1 Who is {topic}?
Introduces {topic} in one sentence that everybody can say again afterwards.
- Who {topic} is, and what the name means
- Where and when the stories are set
- How to recognise {topic} in pictures and statues
visual: A striking portrait of {topic}, with the signs that tell who it is
1 The beginning: where the story of {topic} starts
Takes people into the story: the family, the place and the trouble that the world is in.
- The world before {topic}, and what was wrong with it
- Parents, home and the first signs of something special
- The first danger, and how it is escaped
visual: A scene of the first story, full of detail to look at
2 A story everybody should know
Tells one story of {topic} well, instead of many stories quickly.
- Who wants what at the beginning
- The moment when everything changes
- How it ends, and what people remember of it
visual: Three pictures in a row: before, the turning point, after
2 Friends, family and opponents
Shows {topic} through the others: who helps, who loves, who stands in the way.
- The companions, and what each of them brings
- The greatest opponent, and what the fight is really about
- A friendship that says more than a victory
diagram: {Topic} in the middle, friends and opponents around it
3 What {topic} teaches
Turns the stories into something to take along: one lesson, said in plain words.
- The value behind the best-known story
- A choice that {topic} makes, and why
- Where the same choice meets us today
visual: One sentence of wisdom, large, on a calm background
3 How {topic} is celebrated today
Brings the stories into the present: festivals, songs, art and places.
- A festival or custom, and what people do there
- Songs, dances, pictures and food that belong to it
- Where to see or hear more of it
visual: A colourful photograph of a celebration
2 Symbols and their meaning
Explains the objects, colours and animals that belong to {topic}.
- The most important symbol, and where it comes from
- Colours and clothes, and what they say
- The animal or companion in the pictures
visual: A row of symbols, each with one word
""",
    "person": """
1 Who was {topic}?
Puts {topic} on the map: a name, a time, and the one thing everybody should know.
- The one sentence that sums up {topic}
- Time, place and world that {topic} was born into
- Why this life is still worth telling
visual: The best-known portrait of {topic}
1 The early years
Shows where {topic} came from, and what nobody would have expected then.
- Family, home and school
- An early sign of what was to come
- The first setback, and what it changed
visual: A photograph or drawing of the childhood home
2 The turning point
Tells the moment from which nothing was as before.
- The situation just before it
- The decision, and who was against it
- What happened the day after
diagram: A line of the life, with the turning point marked
2 The great achievements
Names the work that {topic} is remembered for, and why it was hard.
- The best-known achievement, in plain words
- What it took: time, people, courage
- What the world said at first
data: Dates and numbers that show how large it was
2 Difficulties and doubts
Makes {topic} human: failures, opponents, and the price that was paid.
- The hardest years
- Critics, and where they had a point
- What kept {topic} going
visual: A quotation of {topic} about failure
3 What {topic} left behind
Follows the traces from then to now.
- What changed for ever
- People and ideas that {topic} inspired
- Where the name stands today
visual: Then and now, side by side
3 What we can learn from {topic}
Turns a life into something useful for the people in the room.
- A habit worth copying
- A mistake worth avoiding
- One question that {topic} leaves us with
visual: One short quotation, large
""",
    "history": """
1 When and where: setting the scene
Gives everybody the same map and the same calendar before the story begins.
- The time and the place, in one sentence
- Who held power, and who did not
- What daily life was like
visual: A map of the time, with the places that matter
1 What led up to it
Explains the causes, the slow ones and the sudden ones.
- The tensions that had been growing for years
- The event that set everything off
- A warning that nobody took seriously
diagram: Causes on the left, the event on the right
2 The course of events
Tells what happened, in order, with the few dates that are worth knowing.
- How it began
- The turning point
- How it ended
diagram: A timeline with five dates at most
2 The people behind {topic}
Shows the faces: those who decided, and those who lived through it.
- A leader, and what drove this person
- An ordinary life in the middle of it
- Somebody who is too seldom mentioned
visual: Portraits with one line each
2 Sources: how do we know?
Shows one document or object, and what can and cannot be read from it.
- What it is, and who made it
- What it tells us
- What it leaves out
visual: A photograph of one source, large enough to read
3 What changed afterwards
Separates what changed at once from what changed slowly.
- The first consequences
- Winners and losers
- What stayed the same
data: One figure before and after
3 Why it still matters
Draws the line from then to the present of the people in the room.
- A trace of it that we can see today
- A debate that is not over
- What it asks of us
visual: Then and now, side by side
""",
    "place": """
1 Where it is, and what makes it special
Puts {topic} on the map and in the heart: one picture, one reason to care.
- Where it lies, and how one gets there
- The first impression on arrival
- What it has that no other place has
visual: A map, and one photograph that says it all
1 A short history of the place
Explains in three steps how it became what it is.
- How it began
- What shaped it most
- What it is today
diagram: Three steps from then to now
2 Sights not to be missed
Chooses three, and says why just these.
- The famous one, and the best time to see it
- The beautiful one that few people know
- The one for a rainy day
visual: Three large photographs
2 People, customs and everyday life
Shows how people live, greet, celebrate and spend a Sunday.
- A custom that surprises visitors
- Languages, and three useful words
- Music, festivals and sports
visual: A street scene full of life
2 Food and drink
Tells the place through what is on the table.
- The dish everybody knows
- The dish that people there really eat
- Where to find the good one
visual: A table seen from above
3 Planning a visit
Gives what is needed to go: time, money, season, manners.
- Best season, and how many days
- What it costs, roughly
- What to do and what not to do
data: A small table: days, season, cost
""",
    "event": """
1 What we are looking forward to
Says what it is, when and where, and lets the joy in.
- The occasion, in one sentence
- Date, place and who will be there
- The moment everybody will talk about afterwards
visual: A festive picture, with the date written large
1 Why it matters to us
Names the meaning behind the programme.
- Where the tradition or the idea comes from
- What it does for the people involved
- What would be missing without it
visual: A photograph of earlier times
2 The programme
Walks through the day, hour by hour, without small print.
- Arrival and opening
- The main part
- The end, and what comes after it
diagram: A timeline of the day
2 Who does what
Gives every task a name, so that nothing is left lying.
- The organisers, and how to reach them
- Tasks that still need somebody
- What guests should bring or know
data: A table of tasks, names and dates
2 Place, food and atmosphere
Makes the event imaginable: rooms, tables, music, light.
- The place, and how to get there
- Food and drink, also for those with special wishes
- Music, decoration and a surprise
visual: A sketch of the room
3 Budget and dates
Keeps the feet on the ground: what it costs, and what is due when.
- The largest costs
- What is paid for already
- The next three dates
data: Costs as simple bars
""",
    "culture": """
1 First encounter with {topic}
Opens with something to see or hear, before any explanation.
- One example that catches everybody
- What to look or listen for
- The question that it raises
visual: One great example, full size
1 How it began
Tells the origin in three steps.
- The people and the place it came from
- What it was a reaction to
- The moment it became known
diagram: From the origin to today, in three steps
2 What makes it special
Explains the ingredients, so that people notice them from now on.
- The element that everybody recognises
- The rule, and those who broke it
- The skill behind it
visual: One example, with its parts labelled
2 Great examples
Shows three, and says what to admire in each.
- The classic
- The surprising one
- The one from our own time
visual: Three examples in a row
2 The people who shaped it
Gives the names that are worth remembering.
- A pioneer
- A star, and the reason for the fame
- Somebody who is changing it now
visual: Portraits with one line each
3 How to enjoy it yourself
Sends people home with a first step.
- Where to start
- What to avoid at first
- Something to try this week
visual: A short list to photograph
""",
}
