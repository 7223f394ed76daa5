"""One round of the campaign of random kills, and whether the campaign sees what goes wrong."""

from __future__ import annotations

from pathlib import Path

from experiments.engines.campaign import Kill, Round, RoundOutcome, table
from salver.run.cluster.engine import lost_record
from salver.run.events import EventLog
from salver.runners.answers import Claim, RunRecord
from salver.supervise.finished import Termination

SECOND = 1_000_000_000


def test_nothing_is_lost_needless_or_counted_twice(tmp_path: Path) -> None:
    outcome = Round(tmp_path, seed=2, jobs=8, kills=2).play()
    assert outcome.worker_kills + outcome.coordinator_kills == 2
    assert outcome.faults == 0


def test_the_campaign_counts_what_goes_wrong(tmp_path: Path) -> None:
    played = Round(tmp_path, seed=0, jobs=4, kills=0)
    bench = played.bench
    jobs = bench.plan(bench.runners(), "abcd").jobs
    exited = {"termination": Termination.EXITED, "claim": Claim.UNSAT, "exit_code": 0}

    def record(number: int, **values: object) -> RunRecord:
        return lost_record(jobs[number], "").model_copy(update={**exited, **values})

    lost = {"termination": Termination.INFRASTRUCTURE, "claim": Claim.NONE}
    with EventLog(bench.run_dir / "events.jsonl") as log:
        for one in (record(0), record(0), record(1, claim=Claim.SAT), record(2, **lost), record(2)):
            log.append(one)
    for name, second in (("a", 1), ("a", 3), ("a", 5), ("b", 3), ("b", 4)):
        (bench.pids / f"started-{name}-{second * SECOND}").touch()
    played.kills = [Kill("worker", 2 * SECOND)]
    outcome = played.judged()
    assert outcome == RoundOutcome(4, 1, 1, 0, lost=1, needless=2, twice=1, wrong=1, left_over=0)
    assert outcome.faults == 5
    assert table([outcome, outcome]).splitlines()[5].split() == ["jobs", "lost", "2"]
