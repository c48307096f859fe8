//! A network between two programs that can be cut and healed.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// Passes bytes on. While it is cut they wait, and nobody is told: connections stay open, new ones are accepted. Ends when dropped.
pub(crate) struct Network {
    addr: SocketAddr,
    is_cut: watch::Sender<bool>,
    _serving: JoinSet<()>,
}

impl Network {
    /// Listens for connections to pass on to `target`.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (is_cut, cut) = watch::channel(false);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(target).await.unwrap();
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                connections.spawn(pass(from_near, to_far, cut.clone()));
                connections.spawn(pass(from_far, to_near, cut.clone()));
            }
        });
        Self { addr, is_cut, _serving: serving }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Nothing passes any more.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Everything passes again, what waited first.
    pub(crate) fn heal(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut bytes).await;
        if is_cut.wait_for(|is_cut| !is_cut).await.is_err() {
            return;
        }
        match read {
            Ok(n) if n > 0 => {
                if to.write_all(&bytes[..n]).await.is_err() {
                    return;
                }
            }
            // Dropping its half tells the other side.
            Ok(_) | Err(_) => return,
        }
    }
}
