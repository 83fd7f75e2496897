"""English function words: what carries grammar, not content."""

from __future__ import annotations

WORDS = """
a about above after again against ago all almost along already also although always am among an and another any anyone
anything are aren't around as ask at away back be became because become been before behind being below best better
between both but by call came can can't cannot come could couldn't d dear did didn didn't do does doesn doesn't doing
don don't done down during each either else enough etc even ever every everyone everything far few first for from
further gave get gets getting give go goes going gone good got great had hadn't has hasn't have haven't having he he's
hello hence her here hers herself hi him himself his how however i i'd i'll i'm i've if in indeed instead into is isn
isn't it it's its itself just keep kept know known last later least less let let's like ll m made make makes making
many may maybe me might mine more most much must my myself near need never new next no none nor not nothing now of off
often oh ok okay on once one only onto or other others otherwise our ours ourselves out over own per perhaps please
put quite rather re really regards s said same saw say says see seem seemed seems seen several shall she she's should
show since so some someone something soon still such sure t take taken tell than thank thanks that that's the their
theirs them themselves then there there's therefore these they they're thing things think this those though three
through thus to together too took toward two under until up upon us use used using ve very via want wants was wasn
wasn't way we we'll we're we've well went were weren't what what's when where whether which while who whole whom whose
why will with within without won won't would wouldn't yes yet you you'd you'll you're you've your yours yourself
yourselves
"""
STOPWORDS = frozenset(WORDS.split())
