//! A relay between a service and its database that can lose a word and the connection with it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Who says the word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// The word that cuts, and who has to say it.
type Cut = Arc<Mutex<Option<(Side, &'static [u8])>>>;

/// The relay; it lives as long as the test's runtime.
pub(crate) struct Relay {
    /// The database's address through the relay.
    pub(crate) url: String,
    cut: Cut,
    shut: Arc<AtomicBool>,
}

impl Relay {
    /// Relays to the database at `url`.
    pub(crate) async fn start(url: &str) -> Self {
        let mut url = reqwest::Url::parse(url).unwrap();
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let cut = Cut::default();
        let armed = cut.clone();
        let shut = Arc::new(AtomicBool::new(false));
        let door = shut.clone();
        actix_web::rt::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if door.load(Ordering::Acquire) {
                    continue;
                }
                let server = TcpStream::connect((server.0.as_str(), server.1)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (first, second) = (armed.clone(), armed.clone());
                actix_web::rt::spawn(async move {
                    tokio::select! {
                        () = pass_on(Side::Client, from_client, to_server, first) => {}
                        () = pass_on(Side::Server, from_server, to_client, second) => {}
                    }
                });
            }
        });
        Self {
            url: url.into(),
            cut,
            shut,
        }
    }

    /// From now on no new connection gets through, until it is opened again.
    pub(crate) fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Release);
    }

    /// Cuts the first connection on which `side` says `word`; the word does not arrive.
    pub(crate) fn cut_after(&self, side: Side, word: &'static [u8]) {
        *self.cut.lock().unwrap() = Some((side, word));
    }

    /// Whether it has.
    pub(crate) fn has_cut(&self) -> bool {
        self.cut.lock().unwrap().is_none()
    }
}

async fn pass_on(side: Side, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, cut: Cut) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..length];
        {
            let mut cut = cut.lock().unwrap();
            let says = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
            if cut.is_some_and(|(who, word)| who == side && says(word)) {
                *cut = None;
                return;
            }
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
