//! A wire between two programs that a test can cut, hold, and lay elsewhere.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// Listens on a port of its own and hands every connection on. Dropping it cuts all of them.
pub(crate) struct Proxy {
    addr: SocketAddr,
    wire: watch::Sender<Wire>,
    _serving: JoinSet<()>,
}

#[derive(Clone, Copy)]
struct Wire {
    target: SocketAddr,
    /// Answers wait here instead of going on.
    held: bool,
    /// Connections of before the last cut are over.
    n_cuts: u64,
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (wire, told) = watch::channel(Wire { target, held: false, n_cuts: 0 });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, told));
        Self { addr, wire, _serving: serving }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends every connection, in the middle of whatever it carries.
    pub(crate) fn cut(&self) {
        self.wire.send_modify(|wire| wire.n_cuts += 1);
    }

    /// Connections from now on go there.
    pub(crate) fn lay_to(&self, target: SocketAddr) {
        self.wire.send_modify(|wire| wire.target = target);
    }

    /// Keeps answers back until they are let through.
    pub(crate) fn hold_answers(&self, held: bool) {
        self.wire.send_modify(|wire| wire.held = held);
    }
}

async fn serve(listener: TcpListener, wire: watch::Receiver<Wire>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (near, _) = accepted.unwrap();
                connections.spawn(carry(near, wire.clone()));
            }
            Some(ended) = connections.join_next() => ended.unwrap(),
        }
    }
}

/// Until either side ends it or it is cut.
async fn carry(near: TcpStream, mut wire: watch::Receiver<Wire>) {
    let Wire { target, n_cuts, .. } = *wire.borrow();
    // A target that is down looks like a cut.
    let Ok(far) = TcpStream::connect(target).await else { return };
    let (mut asked, answers) = near.into_split();
    let (answered, mut orders) = far.into_split();
    let asking = async {
        let _ = copy(&mut asked, &mut orders).await;
        let _ = orders.shutdown().await;
    };
    let answering = answer(answered, answers, wire.clone());
    let both = async { tokio::join!(asking, answering) };
    tokio::select! {
        _ = both => {}
        _ = wire.wait_for(|wire| wire.n_cuts > n_cuts) => {}
    }
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let n = from.read(&mut buffer).await?;
        if wire.wait_for(|wire| !wire.held).await.is_err() || n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..n]).await?;
    }
}
