"""Words that say how a sentence is built, not what it is about."""

_ENGLISH = """
a about above after again against all almost alone along already also although always am among an
and another any anyone anything are around as at away back be became because become been before
behind being below between both but by can cannot could did do does doing done down during each
either else enough even ever every everyone everything few first for from further get give go had
has have having he hence her here hers herself him himself his how however i if in indeed into is
it its itself just keep last least less made many may me might mine more moreover most mostly much
must my myself neither never nevertheless next no nobody none nor not nothing now of off often on
once one only onto or other others our ours ourselves out over own per perhaps please put quite
rather re said same say says see seem seemed several she should since so some someone something
sometimes still such take than that the their theirs them themselves then there therefore these
they this those though three through throughout thus to together too toward towards two under
until up upon us very via was we well were what whatever when where whether which while who whoever
whole whom whose why will with within without would yet you your yours yourself s t ll ve d m
"""
_CHINESE = (
    "的了和与及在是有为对中上下以于之其这那也都而或并且等被把从到由将就个一不但所可能使得着过地"
)

FUNCTION_WORDS = frozenset(_ENGLISH.split()) | frozenset(_CHINESE)
