"""What a released MLflow samples; run with the release on the path. Prints JSON.

usage: python sampled_by_release.py FILE
"""

import json
import sys
from pathlib import Path

from mlflow.genai.scorers.online import OnlineScorer, OnlineScorerSampler
from mlflow.genai.scorers.online.entities import OnlineScoringConfig


def main(path: str) -> None:
    asked = json.loads(Path(path).read_text())
    online_scorers = [
        OnlineScorer(**{**each, "online_config": OnlineScoringConfig(**each["online_config"])})
        for each in asked["online_scorers"]
    ]
    sampler = OnlineScorerSampler(online_scorers)
    sampled = {}
    for scorers in sampler.group_scorers_by_filter(session_level=False).values():
        for trace_id in asked["trace_ids"]:
            names = [scorer.name for scorer in sampler.sample(trace_id, scorers)]
            sampled.setdefault(trace_id, []).extend(names)
    print(json.dumps(sampled))


if __name__ == "__main__":
    main(*sys.argv[1:])
