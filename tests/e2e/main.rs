//! End to end, through the real doors of real processes. One module a topic.

mod simulator;
