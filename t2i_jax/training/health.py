"""Is a run well? Bounds on what every chunk reports, each with what leaving it means and what to change then."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import NamedTuple

DIVERGED, WON, COLLAPSED = "diverged", "discriminator won", "collapsed"


class Rule(NamedTuple):
    """One line of the table: within its bounds a term is healthy."""

    verdict: str
    term: str  # a pattern of "phase/term"
    low: float
    high: float
    chunks: int  # in a row outside the bounds before it counts
    meaning: str
    change: str  # what to change in the config; {phase} is the phase that reports the term


ANY = float("inf")
SLOWER = "lower optimizers.{phase}.learning_rate or optimizers.{phase}.clip"
SMOOTHER = "raise losses.gamma and losses.gamma_final, or lower optimizers.{phase}.learning_rate"

RULES = (
    Rule(DIVERGED, "*/gradient_norm", -ANY, 1e3, 3, "gradients explode", SLOWER),
    Rule(DIVERGED, "*/gap", -50, 50, 3, "logits run away", SMOOTHER),
    Rule(DIVERGED, "*/r1", -ANY, 1e3, 3, "the discriminator is too steep at real examples", SMOOTHER),
    Rule(DIVERGED, "*/r2", -ANY, 1e3, 3, "the discriminator is too steep at generated examples", SMOOTHER),
    Rule(DIVERGED, "*/mean_square", -ANY, 1, 5, "reconstructions are worse than plain grey", SLOWER),
    Rule(DIVERGED, "*/deviation", -ANY, 5, 5, "generated latents leave the range of real ones", SLOWER),
    Rule(WON, "*/pairs_told", -ANY, 0.998, 20, "nearly every generated example is told from its real one", SMOOTHER),
    Rule(WON, "*/gap", -ANY, 8, 20, "its logits stand far apart, and the generator learns little from it", SMOOTHER),
    Rule(WON, "patches/accuracy", -ANY, 0.99, 20, "nearly every patch is told", "raise losses.patch_gamma or losses.patch"),
    Rule(COLLAPSED, "*/deviation", 0.3, ANY, 10, "draws for different captions are nearly the same",
         "raise losses.gamma and losses.contrastive, or lower optimizers.{phase}.learning_rate"),
    Rule(COLLAPSED, "*/diversity", 0.02, ANY, 20, "noise hardly changes what is drawn",
         "raise losses.imitation, or train on captions that leave more open"),
    Rule(COLLAPSED, "*/active", 0.02, ANY, 20, "the autoencoder uses next to none of its latent dimensions",
         "lower losses.kl"),
    Rule(COLLAPSED, "*/perplexity", 0.02, ANY, 20, "images are told with next to none of the codebook's codes",
         "lower codebook.decay or optimizers.{phase}.learning_rate, or choose a smaller codebook.size"),
    Rule(COLLAPSED, "*/used", 0.05, ANY, 20, "most of the codebook's codes are never chosen",
         "raise codebook.least or lower codebook.decay, or choose a smaller codebook.size"),
)


class Finding(NamedTuple):
    """A rule that was broken for as long as it takes."""

    verdict: str
    term: str
    value: float
    text: str  # one line for people


class Monitor:
    """Counts, over the chunks of a run, how long each term has been out of bounds."""

    def __init__(self, streaks: Mapping[str, int] | None = None, rules: Sequence[Rule] = RULES):
        """streaks: where an earlier monitor stopped, so that a run that goes on warns as one that never stopped."""
        self.streaks = dict(streaks or {})  # {"verdict: term": chunks in a row out of bounds}, JSON-able
        self.diverged: Finding | None = None  # as long as it lasts
        self._rules = rules

    @property
    def healthy(self) -> bool:
        """Whether nothing speaks of divergence, not even for one chunk: only then is a state worth going back to."""
        return not any(key.startswith(f"{DIVERGED}: ") for key in self.streaks)

    def see(self, means: Mapping[str, float]) -> list[Finding]:
        """What this chunk's means make worth a warning: each rule once, when its patience ends, until it was kept again."""
        before, self.streaks, self.diverged = self.streaks, {}, None
        warnings = []
        for rule in self._rules:
            for term in fnmatch.filter(means, rule.term):
                if rule.low <= means[term] <= rule.high:
                    continue
                key = f"{rule.verdict}: {term}"
                self.streaks[key] = before.get(key, 0) + 1
                if self.streaks[key] >= rule.chunks and rule.verdict == DIVERGED:
                    self.diverged = self.diverged or _finding(rule, term, means[term])
                if self.streaks[key] == rule.chunks:
                    warnings.append(_finding(rule, term, means[term]))
        return warnings


def _finding(rule: Rule, term: str, value: float) -> Finding:
    bound = f"above {rule.high:g}" if value > rule.high else f"below {rule.low:g}"
    text = f"{rule.verdict}: {term} = {value:.4g}, {bound} for {rule.chunks} chunks: {rule.meaning}; "
    return Finding(rule.verdict, term, value, text + rule.change.format(phase=term.split("/")[0]))
