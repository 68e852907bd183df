//! A cable between a service and what stands behind it, which a test can pull out and put back.

use std::{io, net::SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Connections that may wait to be taken.
const BACKLOG: u32 = 1_024;

/// A cable to one address. Pulled out, it refuses new connections and cuts those there are.
#[derive(Debug)]
pub struct Link {
    /// Where it is connected to.
    pub address: SocketAddr,
    to: SocketAddr,
    is_in: watch::Sender<bool>,
    carrying: Option<JoinHandle<()>>,
}

impl Link {
    /// A cable to this address, plugged in.
    pub fn to(to: SocketAddr) -> io::Result<Self> {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let mut link = Self {
            address: listener.local_addr()?,
            to,
            is_in: watch::Sender::new(true),
            carrying: None,
        };
        link.carry(listener);
        Ok(link)
    }

    /// Pulls it out: connections are cut, and nobody listens any more.
    pub async fn pull_out(&mut self) {
        self.is_in.send_replace(false);
        if let Some(carrying) = self.carrying.take() {
            carrying.abort();
            // Aborted, it has let go of the port.
            let _ = carrying.await;
        }
    }

    /// Puts it back where it was.
    pub fn put_back(&mut self) -> io::Result<()> {
        let listener = listen(self.address)?;
        self.is_in = watch::Sender::new(true);
        self.carry(listener);
        Ok(())
    }

    fn carry(&mut self, listener: TcpListener) {
        let (to, is_in) = (self.to, self.is_in.subscribe());
        self.carrying = Some(tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connection(near, to, is_in.clone()));
            }
        }));
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn connection(mut near: TcpStream, to: SocketAddr, mut is_in: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(to).await else {
        return;
    };
    // Small events must not wait for more.
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = is_in.wait_for(|is_in| !is_in) => {}
    }
}
