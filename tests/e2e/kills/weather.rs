//! What goes wrong at the vendor.

use fastrand::Rng;

/// Faults in force together: enough to meet each often, few enough that most orders come through.
const N_RULES: usize = 12;

/// Everything that the simulated vendor can do wrong, but for callbacks, which these servers do not ask for.
const RULES: [&str; 47] = [
    "create:chance=0.1:drop",
    "create:chance=0.1:drop,effect=after",
    "create:chance=0.05:hang",
    "create:chance=0.05:hang,effect=after",
    "create:chance=0.1:status=429,retry_after=1",
    "create:chance=0.1:status=422",
    "create:chance=0.1:status=500",
    "create:chance=0.1:status=500,effect=after",
    "create:chance=0.1:html",
    "create:chance=0.1:malformed",
    "create:chance=0.1:no_id",
    "create:chance=0.2:slow=100ms",
    "create:chance=0.2:extra_fields",
    "create:chance=0.2:floats",
    "create:chance=0.1:failed=\"it broke\"",
    "create:chance=0.1:canceled",
    "create:chance=0.1:aborted",
    "create:prompt=[short],chance=0.3:stuck=starting",
    "create:prompt=[short],chance=0.3:stuck=processing",
    "create:chance=0.2:uncancellable",
    "create:chance=0.2:hold",
    "create:chance=0.2:latency=500ms",
    "create:chance=0.1:retention=300ms",
    "create:chance=0.2:size=3000000",
    "create:chance=0.2:expires=0",
    "create:chance=0.2:output=base64",
    "get:chance=0.1:drop",
    "get:chance=0.05:hang",
    "get:chance=0.1:status=500",
    "get:chance=0.1:status=429,retry_after=1",
    "get:chance=0.05:forgotten",
    "get:chance=0.1:html",
    "get:chance=0.1:malformed",
    "get:chance=0.1:unknown_status",
    "list:chance=0.3:drop",
    "list:chance=0.3:status=500",
    "list:chance=0.3:malformed",
    "list:chance=0.1:hang",
    "cancel:chance=0.3:drop,effect=after",
    "cancel:chance=0.3:status=500",
    "download:chance=0.2:drop",
    "download:chance=0.2:status=500",
    "download:chance=0.1:empty",
    "download:chance=0.1:truncated",
    "download:chance=0.1:page",
    "download:chance=0.1:wrong_length",
    "download:chance=0.2:slow=100ms",
];

/// Some of it.
pub(super) fn some(random: &mut Rng) -> Vec<&'static str> {
    random.choose_multiple(RULES, N_RULES)
}
