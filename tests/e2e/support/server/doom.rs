//! Servers that die at a failpoint.

use std::time::Duration;

use filmgate::failpoint::{Point, VARIABLE};
use tokio::time::{Instant, sleep};

use super::{SOON, Server, Setup, was_killed};

impl Setup {
    /// A server that dies when it comes to this point for the `nth` time; see [`Server::died`].
    pub(crate) fn doomed(self, point: Point, nth: u32) -> Self {
        self.with(VARIABLE, &format!("{point}:{nth}"))
    }
}

impl Server {
    /// Waits until the failpoint it was started with has killed it; how to start servers that live on its folder.
    pub(crate) async fn died(mut self) -> Setup {
        let end = Instant::now() + SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            let armed = self.setup.variables.get(VARIABLE);
            assert!(Instant::now() < end, "it lives on with {armed:?}:\n{}", self.setup.log());
            sleep(Duration::from_millis(5)).await;
        };
        assert!(was_killed(status), "{status}:\n{}", self.setup.log());
        let mut setup = self.setup.clone();
        setup.variables.remove(VARIABLE);
        setup
    }
}
