"""What a run counted, as tables: instructions by engine and operation, HBM traffic by tensor."""

from __future__ import annotations

from ..program.run import Run
from .tables import count, short, size, table


def text(run: Run) -> str:
    """The counters of a run, by engine, by operation and by HBM tensor."""
    engines: dict[str, dict[str, int]] = {}
    total = 0
    for record in run.records():
        signature = record.signature
        ops = engines.setdefault(signature.engine, {})
        ops[signature.instruction.name] = ops.get(signature.instruction.name, 0) + 1
        total += 1
    head = (
        f"Counters on {run.target}: {count(total, 'instruction')}, "
        f"{count(len(run.programs), 'kernel call')}"
    )
    if not total:
        return head
    rows = [
        [engine, op, f"{n:,}", f"{short(100 * n / total)} %"]
        for engine in sorted(engines)
        for op, n in sorted(engines[engine].items(), key=lambda kv: (-kv[1], kv[0]))
    ]
    parts = [head, table(["engine", "operation", "count", "share"], rows, left=2)]
    reads, writes = run.hbm_reads, run.hbm_writes
    names = dict.fromkeys([*reads, *writes])
    rows = [
        [name, *(size(t[name]) if name in t else "-" for t in (reads, writes))] for name in names
    ]
    rows.append(["all", size(run.hbm_bytes_read), size(run.hbm_bytes_written)])
    parts.append(table(["HBM tensor", "read", "written"], rows))
    return "\n\n".join(parts)
