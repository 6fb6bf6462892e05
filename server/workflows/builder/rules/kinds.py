"""Kinds of topic: what sort of thing a presentation is about."""

import re
from typing import Final

#: Kind → a pattern that speaks for it. The first that fits counts, so the narrow ones come first.
_KINDS: Final[dict[str, str]] = {
    "figure": r"krishna|shiva|vishnu|rama|sita|ganesh\w*|hanuman|durga|lakshmi|kali|saraswati|buddha|jesus|christ|"
    r"moses|"
    r"muhammad|mohammed|guru nanak|abraham|zeus|hera|athena|apollo|poseidon|hades|hercules|odysseus|achilles|medusa|"
    r"odin|"
    r"thor|loki|freya|osiris|anubis|horus|king arthur|robin hood|gilgamesh|amaterasu|quetzalcoatl|radha|arjuna|god|"
    r"gods|goddess(?:es)?|deity|deities|prophet|saint|saints|myth|myths|mythology|legends?|कृष्ण|शिव|गणेश|राम",
    "results": r"results?|quarterly|quarter|q[1-4]|annual report|year in review|kpis?|status (?:update|report)|"
    r"sales figures|budget|revenue|performance review|retrospective|business review|findings|survey",
    "pitch": r"pitch|start-?ups?|fundrais\w+|seed round|series [a-d]|investment|our (?:company|business)|company "
    r"(?:profile|"
    r"overview|introduction)|\w+ (?:inc|ltd|llc|gmbh|corp|plc)",
    "product": r"product|launch|app|our (?:software|platform|service)|saas|new feature|brand|marketing campaign",
    "proposal": r"proposal|strategy|roadmap|business plan|project plan|project|initiative|reorgani[sz]ation|"
    r"restructuring|"
    r"policy|migration plan|business case",
    "training": r"how to|how do (?:i|you|we)|training|onboarding|workshop|tutorial|course|getting started|best "
    r"practices?|"
    r"step by step|basics of|safety|first aid|user guide|cooking|baking|knitting|using|learn(?:ing)? to",
    "health": r"health\w*|diabetes|nutrition|diets?|obesity|stress|sleep|fitness|exercise|yoga|meditation|mindfulness|"
    r"medicine|vaccin\w+|cancer|wellbeing|well-being|burnout|anxiety|depression|dementia|allerg\w+|heart disease|"
    r"smoking|"
    r"alcohol|pregnancy|asthma|virus(?:es)?|pandemic|covid\S*",
    "event": r"event|wedding|birthday|conference|party|festival|celebration|retreat|reunion|anniversary|diwali|holi|"
    r"christmas|easter|eid|ramadan|hanukkah|thanksgiving|halloween|gala|ceremony",
    "lesson": r"book report|homework|lesson|class project|maths?|mathematics|grammar|fractions?|spelling|essay|algebra|"
    r"geometry|vocabulary|multiplication|poetry|school|english|exam",
    "history": r"history|historical|war|wars|ww1|ww2|revolution|empire|ancient|century|medieval|middle ages|"
    r"independence|"
    r"civil rights|renaissance|dynasty|vikings?|pharaohs?|pyramids?|romans?|colonial\w*|slavery|holocaust|partition|"
    r"1[0-9]{3}",
    "technology": r"ai|artificial intelligence|machine learning|language models?|chatgpt|blockchain|crypto\w*|"
    r"bitcoin|cloud|"
    r"cyber\w*|python|javascript|rust|java|programming|coding|robot\w*|internet|software|hardware|kubernetes|docker|"
    r"databases?|5g|digital\w*|automation|electric (?:cars?|vehicles?)|evs?|batter(?:y|ies)|web\w*|computers?|"
    r"drones?|tech\w*",
    "science": r"science|physics|chemistry|biology|climate\w*|energy|renewables?|photosynthesis|planets?|space|"
    r"black holes?|dna|genes?|genetics|evolution|volcano\w*|oceans?|animals?|whales?|dolphins?|sharks?|dinosaurs?|"
    r"birds?|"
    r"bees?|butterfl\w+|cats?|dogs?|elephants?|solar\w*|wind power|quantum|cells?|ecosystems?|atoms?|gravity|moon|mars|"
    r"jupiter|saturn|stars?|galax\w+|universe|earthquakes?|weather|water cycle|rain\s?forests?|trees?|plants?|"
    r"biodiversity|"
    r"global warming|recycling|plastic|pollution|sustainab\w+|environment\w*|brain|light|electricity|magnets?|insects?",
    "place": r"travel\w*|trips?|holidays?|vacation|tourism|city|cities|country|countries|island\w*|paris|london|rome|"
    r"tokyo|"
    r"berlin|madrid|lisbon|vienna|amsterdam|dubai|singapore|bangkok|mumbai|delhi|kerala|goa|new york|san francisco|"
    r"japan|"
    r"india|italy|france|spain|germany|china|greece|egypt|brazil|mexico|canada|australia|iceland|norway|sweden|kenya|"
    r"nepal|thailand|vietnam|portugal|ireland|scotland|england|switzerland|austria|turkey|africa|asia|europe|nigeria|"
    r"peru",
    "culture": r"music|jazz|opera|film\w*|movies?|cinema|books?|novels?|art|arts|painting|dance|ballet|football|soccer|"
    r"cricket|tennis|basketball|olympics?|chess|games?|food|cuisine|coffee|tea|chocolate|wine|pizza|bread|fashion|"
    r"photography|architecture|theatre|theater|literature|anime|gardening|sports?",
}  # fmt: skip
_PATTERNS: Final = {kind: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for kind, words in _KINDS.items()}
_NAMES: Final = (
    r"einstein|curie|gandhi|mandela|shakespeare|mozart|beethoven|bach|newton|darwin|galileo|kepler|tesla|edison|turing|"
    r"lovelace|hawking|picasso|van gogh|kahlo|da vinci|michelangelo|rembrandt|monet|napoleon|caesar|cleopatra|"
    r"aristotle|"
    r"plato|socrates|confucius|nehru|tagore|ambedkar|kalam|ramanujan|obama|lincoln|washington|churchill|thatcher|"
    r"roosevelt|kennedy|luther king|malala\w*|rosa parks|anne frank|joan of arc|florence nightingale|mother teresa|"
    r"steve jobs|bill gates|elon musk|messi|ronaldo|pel[eé]|maradona|tendulkar|kohli|serena williams|muhammad ali|"
    r"michael jordan|taylor swift|beyonc[eé]|bowie|freddie mercury|the beatles|dickens|austen|tolkien|rowling|"
    r"hemingway|"
    r"tolstoy|dostoe?vsky|goethe|kant|nietzsche|marx|freud|pasteur|nobel|amelia earhart|neil armstrong|gagarin"
)
_PERSON: Final = re.compile(
    rf"\b(?:{_NAMES}|life of|biography|autobiography)\b|^(?:dr|mr|mrs|ms|sir|queen|king|president|mahatma|lord)\.?\s\w",
    re.IGNORECASE,
)
_CLAUSE: Final = re.compile(
    r"(?:how|why|what|when|where|which|whether|do|does|is|are|can|should|will)\b", re.IGNORECASE
)
#: Of a question only these kinds say enough to go by.
_CLAUSE_KINDS: Final = ("training", "science", "history", "technology")
#: What may follow from the kind of topic to the way its name is written.
NAME_KINDS: Final = frozenset({"figure", "person"})
KINDS: Final = (*_KINDS, "person", "general")


def is_clause(topic: str) -> bool:
    """Whether a topic is a question or a "how to", which cannot stand where a noun does."""
    return topic.endswith("?") or _CLAUSE.match(topic) is not None


def find_kind(text: str) -> str:
    """The kind of a topic, from its words; "general" when nothing speaks for another."""
    if is_clause(text):
        return next((kind for kind in _CLAUSE_KINDS if _PATTERNS[kind].search(text)), "general")
    if _PATTERNS["figure"].search(text):
        return "figure"
    if _PERSON.search(text):
        return "person"
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.search(text)), "general")
