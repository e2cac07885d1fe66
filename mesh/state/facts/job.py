"""Facts about jobs: asked for, placed, started, ended. One job_id names one job."""

from typing import Annotated

from mesh.state.facts.fact import Fact, Payload, amount, said

JobId = Annotated[str, said("Which job")]
Attempt = Annotated[int, amount("Which attempt, from 1")]
Epoch = Annotated[
    int, amount("How often the job was adopted when this was decided; 0 = never", since="0.3.0")
]
Model = Annotated[str, said("Name of the model's file, or as catalogued; missing = a command")]
Milliseconds = Annotated[int, amount("How long it ran; 0 = it never did", "ms")]
Seconds = Annotated[str, said("actual_duration_ms as decimal text", "s")]
Cost = Annotated[int, amount("What it cost at the device's hourly rate", "nano-USD")]
Dollars = Annotated[str, said("actual_cost_nusd as decimal text", "USD")]
CostBasis = Annotated[str, said('"estimated": from prices and watts as registered')]
Peak = Annotated[int, amount("The most memory the attempt was seen to take; 0 = unknown", "B")]
ExitCode = Annotated[int, said("Of the attempt; -N = signal N")]
Reason = Annotated[
    str,
    said(
        '"exit", "signal", "oom", "setup", "lost", "removed" (its owner was put out), '
        '"interrupted", "internal", or a code that a plan refuses by'
    ),
]
Text = Annotated[
    str, said("What happened, for people; quotes no output, no path and nothing that was typed")
]
Generated = Annotated[int, amount("Generated, all sequences together", "tokens")]
Prompted = Annotated[int, amount("Prompt, all sequences together", "tokens")]
DecodeRate = Annotated[int, amount("Generation, all sequences together; 0 = unknown", "mtokens/s")]
DecodeText = Annotated[str, said("throughput_mtps as decimal text", "tokens/s")]
PromptRate = Annotated[int, amount("Reading prompts; 0 = unknown", "mtokens/s")]
Prompt = Annotated[str, said("What the model is asked; nobody writes it since 0.2.0")]
Label = Annotated[
    str, said("What a person called it, or the name of its model or program", since="0.2.0")
]
BodyHash = Annotated[str, said("blake2b-256 over 16 random bytes and the body, hex", since="0.2.0")]
BodyBytes = Annotated[int, amount("Size of the body", "B", since="0.2.0")]
MEMORY = said("What the engine reported: weights_, kv_, compute_ and state_bytes, if known", "B")


NORMAL_PRIORITY = 50


class JobFact(Fact, frozen=True, kw_only=True):
    """What every event of a job says."""

    job_id: JobId


class JobSubmitted(Fact, frozen=True, kw_only=True):
    """Somebody wants a model asked or a command run. Counts are per sequence, `batch` at once.

    What was typed (prompt, command, folder, environment, the model's path) is in no event: it is
    the job's *body*, a file of the job's home. Signed bytes hold no floats, so numbers with a
    fraction are text. A missing limit does not bind.
    """

    job_id: JobId
    kind: Annotated[
        str, said('"model", "server" (a model until it is cancelled), "command"; missing = "model"')
    ]
    prompt: Prompt = ""
    batch: Annotated[int, amount("Sequences at once; 0 counts as 1")]
    objective: Annotated[str, said('"cheapest", "fastest" or "balanced"')]
    label: Label = ""
    body_hash: BodyHash = ""
    body_bytes: BodyBytes = 0
    model: Annotated[
        str | None,
        said("Name of the model or its file; until 0.2.0 the file's path; missing = a command"),
    ] = None
    model_bytes: Annotated[int, amount("Size of that file; 0 = unknown", "B", since="0.2.0")] = 0
    command: Annotated[
        tuple[str, ...] | None, said("Program and arguments; nobody writes it since 0.2.0")
    ] = None
    cwd: Annotated[str | None, said("Where a command runs; nobody writes it since 0.2.0")] = None
    context: Annotated[int | None, said("Longest sequence", "tokens")] = None
    tokens: Annotated[int | None, said("To generate", "tokens")] = None
    prompt_tokens: Annotated[int | None, said("Length of the prompt", "tokens")] = None
    engine: Annotated[str | None, said("The only engine allowed")] = None
    quant: Annotated[str | None, said("The only weight format allowed")] = None
    kv_type: Annotated[str | None, said("Type of the cache")] = None
    on: Annotated[str | None, said("The only device allowed, by id or name")] = None
    max_latency: Annotated[str | None, said('Longest answer, once loaded, as text: "30s"')] = None
    max_latency_ms: Annotated[int | None, said("max_latency as a number", "ms")] = None
    ttft: Annotated[str | None, said("Longest time from loaded to the first token, as text")] = None
    deadline: Annotated[str | None, said("Longest time to the end, with waiting, as text")] = None
    min_tps: Annotated[str | None, said("Slowest generation, as text", "tokens/s")] = None
    max_price: Annotated[str | None, said("Highest hourly price, as text", "USD/h")] = None
    max_cost: Annotated[str | None, said("Highest cost of the job, as text", "USD")] = None
    min_quality: Annotated[str | None, said("Least quality, as text from 0 to 1")] = None
    priority: Annotated[int, amount("0 to 100; 50 = normal", since="0.3.0")] = NORMAL_PRIORITY
    preemptible: Annotated[
        bool, said("May be paused, or stopped and run again, for others", since="0.3.0")
    ] = False
    retries: Annotated[
        int, amount("Attempts more after a failure that is not the job's own", since="0.3.0")
    ] = 0
    lines: Annotated[int, amount("Requests in it; 0 = a single prompt", since="0.3.0")] = 0
    replace_after_ms: Annotated[
        int,
        amount(
            "Its owner not heard of for so long: another attempt; 0 = never", "ms", since="0.3.0"
        ),
    ] = 0
    reconcile: Annotated[
        str,
        said(
            '"keep_original", "keep_replacement", "longest_running" or "best_score": which of two '
            "attempts goes on when a replaced one is heard of again",
            since="0.3.0",
        ),
    ] = ""
    key_id: Annotated[
        str, said("The key in whose budgets it counts, too; missing = none", since="0.3.0")
    ] = ""


class JobTyped(JobSubmitted, frozen=True, kw_only=True):
    """As programs before 0.2.0 wrote it: with what was typed, which nothing can erase."""

    prompt: Prompt


class JobSealed(JobSubmitted, frozen=True, kw_only=True):
    """As it is written since 0.2.0: what was typed stays in a file that can be erased."""

    label: Label
    body_hash: BodyHash
    body_bytes: BodyBytes


class JobConfig(Fact, frozen=True, kw_only=True):
    """What was asked and predicted, in the words of the first sketch of this format."""

    batch_size: Annotated[int, amount("Sequences at once")]
    seq_length: Annotated[int, amount("Longest sequence", "tokens")]
    estimated_cost: Annotated[str, said("The plan's median as decimal text", "USD")]
    estimated_duration_s: Annotated[int, amount("The plan's median", "s")]


class Expected(Fact, frozen=True, kw_only=True):
    """When an attempt should start and end, as its owner saw it when it offered its device."""

    start_p50_ms: Annotated[int, amount("To its start, at the median", "ms", since="0.3.0")]
    start_p90_ms: Annotated[int, amount("To its start, nine times in ten", "ms", since="0.3.0")]
    end_p50_ms: Annotated[
        int | None, said("To its end, at the median; missing = unknown", "ms", since="0.3.0")
    ] = None
    end_p90_ms: Annotated[
        int | None, said("To its end, nine times in ten", "ms", since="0.3.0")
    ] = None
    p_ppm: Annotated[
        int | None, said("Chance that it meets its deadline, if it has one", "1e-6", since="0.3.0")
    ] = None


class JobDispatched(Fact, frozen=True, kw_only=True):
    """The job's home has chosen the event's device for it; its memory is promised from now on."""

    job_id: JobId
    attempt: Attempt
    considered: Annotated[int, amount("Devices that were looked at")]
    model: Model = ""
    plan: Annotated[Payload | None, said("What was predicted, a [plan](#plan); of model jobs")] = (
        None
    )
    config: Annotated[JobConfig | None, said("The plan in brief; of model jobs")] = None
    owner: Annotated[
        str, said("Key of the peer that has the device; missing = the author's own")
    ] = ""
    epoch: Epoch = 0
    expected: Annotated[Expected | None, said("What the device's owner offered", since="0.3.0")] = (
        None
    )
    members: Annotated[
        tuple[str, ...],
        said(
            "Devices it has beside the event's, sorted; all are its owner's and in one host, or "
            "none counts",
            since="0.3.0",
        ),
    ] = ()


class JobAccepted(Fact, frozen=True, kw_only=True):
    """The device's owner has taken the attempt: it waits there, or runs. Written by the owner,
    before it answers the claim; the event's number in its author's chain is the lease's fence."""

    job_id: JobId
    attempt: Attempt


class JobReturned(Fact, frozen=True, kw_only=True):
    """The owner did not take the attempt and never will; its home looks for another device."""

    job_id: JobId
    attempt: Attempt
    reason: Annotated[str, said("The code the owner gave, or a plan refuses by", since="0.3.0")]


class JobReplaced(Fact, frozen=True, kw_only=True):
    """The owner was not heard of for as long as the job allows; another attempt may begin."""

    job_id: JobId
    attempt: Attempt


class JobAdopted(Fact, frozen=True, kw_only=True):
    """The author decides for the job from now on; of several the highest (epoch, key)."""

    job_id: JobId
    epoch: Annotated[int, amount("From 1; one more than the job had", since="0.3.0")]


class JobPaused(Fact, frozen=True, kw_only=True):
    """The attempt stands still, its memory kept."""

    job_id: JobId
    attempt: Attempt
    reason: Annotated[str, said("Why: a code of the queue's or of the machine's", since="0.3.0")]


class JobResumed(Fact, frozen=True, kw_only=True):
    """The attempt goes on."""

    job_id: JobId
    attempt: Attempt


class JobStarted(Fact, frozen=True, kw_only=True):
    """The attempt runs."""

    job_id: JobId
    attempt: Attempt
    pid: Annotated[int, amount("Of the supervisor, on the device's host")]
    model: Annotated[str, said('As in job_submitted; "" = a command')]
    batch_size: Annotated[int, amount("Sequences at once")]
    estimated_duration_s: Annotated[int, amount("The plan's median; 0 = unknown", "s")]


class JobCancelRequested(Fact, frozen=True, kw_only=True):
    """Somebody wants the job stopped; any peer may say so of any job."""

    job_id: JobId


class JobCancelled(Fact, frozen=True, kw_only=True):
    """It was stopped before it started."""

    job_id: JobId
    attempt: Attempt
    actual_duration_ms: Milliseconds
    actual_cost_nusd: Cost


class RunStopped(Fact, frozen=True, kw_only=True):
    """It was stopped while it ran."""

    job_id: JobId
    attempt: Attempt
    actual_duration_ms: Milliseconds
    actual_duration_s: Seconds
    actual_cost_nusd: Cost
    actual_cost: Dollars
    cost_basis: CostBasis
    peak_memory_bytes: Peak
    exit_code: ExitCode
    energy_mj: Annotated[int, amount("Energy drawn; 0 = unknown", "mJ", since="0.3.0")] = 0
    energy_basis: Annotated[
        str, said('"measured": from readings of power; "estimated": from the TDP', since="0.3.0")
    ] = ""
    paused_ms: Annotated[
        int, amount("Of its time, while it stood still for others", "ms", since="0.3.0")
    ] = 0
    costs_nusd: Annotated[
        tuple[int, ...],
        said(
            "Of actual_cost_nusd, what each device came to: the event's, then the dispatch's "
            "members; missing = one device",
            "nano-USD",
            since="0.3.0",
        ),
    ] = ()


class JobFailed(Fact, frozen=True, kw_only=True):
    """It could not be placed or started."""

    job_id: JobId
    attempt: Attempt
    reason: Reason
    text: Text
    exit_code: ExitCode
    actual_duration_ms: Milliseconds
    actual_cost_nusd: Cost
    peak_memory_bytes: Peak


class RunFailed(RunStopped, frozen=True, kw_only=True):
    """It ran and did not end well."""

    reason: Reason
    text: Text


class JobCompleted(RunStopped, frozen=True, kw_only=True):
    """It ran and ended well; with the plan it is a measurement that every peer learns from."""

    tokens_generated: Generated
    prompt_tokens: Prompted
    throughput_mtps: DecodeRate
    throughput: DecodeText
    prefill_mtps: PromptRate
    engine_memory: Annotated[Payload, MEMORY]


class JobEnded(Fact, frozen=True, kw_only=True):
    """What any of the three ends may say; read the same way whichever it is."""

    reason: Reason = ""
    text: Text = ""
    tokens_generated: Generated = 0
    prompt_tokens: Prompted = 0
    throughput_mtps: DecodeRate = 0
    prefill_mtps: PromptRate = 0
    actual_duration_ms: Milliseconds = 0
    actual_cost_nusd: Cost = 0
    peak_memory_bytes: Peak = 0
    exit_code: ExitCode = 0
    engine_memory: Annotated[Payload | None, MEMORY] = None
    costs_nusd: Annotated[tuple[int, ...], said("actual_cost_nusd by device", "nano-USD")] = ()
