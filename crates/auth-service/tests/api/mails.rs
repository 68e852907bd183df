//! Mails over SMTP, and what is done when the server is away.

use auth_service::{MailRoute, Smtp};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::support::{TestApp, eventually};

/// A mail server that refuses the first mail for the moment, and passes on those it takes.
async fn mail_server() -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut is_first = true;
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            serve(socket, &mut is_first, &sender).await;
        }
    });
    (port, receiver)
}

async fn serve(socket: TcpStream, is_first: &mut bool, mails: &mpsc::UnboundedSender<String>) {
    let (read, mut write) = socket.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 test\r\n").await.unwrap();
    let mut mail = None;
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match (&mut mail, line.as_str()) {
            (Some(_), ".") => {
                mails.send(mail.take().unwrap()).unwrap();
                "250 taken\r\n"
            }
            (Some(text), line) => {
                text.push_str(line);
                text.push_str("\r\n");
                continue;
            }
            (None, "DATA") => {
                mail = Some(String::new());
                "354 go on\r\n"
            }
            (None, line) if line.starts_with("MAIL") && std::mem::take(is_first) => "451 not now\r\n",
            (None, "QUIT") => "221 bye\r\n",
            (None, _) => "250 ok\r\n",
        };
        if write.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_mail_the_server_does_not_take_at_first_is_sent_again() {
    let (port, mut mails) = mail_server().await;
    let app = TestApp::spawn_with(|config| {
        config.mail = MailRoute::Smtp(Smtp {
            host: "127.0.0.1".to_owned(),
            port,
            secure: false,
            credentials: None,
        });
    })
    .await;

    app.sign_up("ada").await;

    let mail = mails.recv().await.unwrap();
    assert!(
        mail.contains("To: ada@example.com\r\n") && mail.contains("Subject: Verify"),
        "{mail}"
    );
    assert!(
        mail.contains("From: Flowgate <noreply@example.com>\r\n"),
        "{mail}"
    );
    assert!(mail.contains("verification code: "), "{mail}");
    assert!(mail.contains("https://chat.example.com"), "{mail}");
    let sent = r#"auth_mails_total{outcome="sent",service="auth-service"}"#;
    eventually("it is counted", async || {
        (app.metric(sent).await > 0.5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn links_point_to_the_configured_address_whatever_the_request_says() {
    let app = TestApp::spawn().await;
    let body =
        serde_json::json!({ "username": "ada", "email": "ada@example.com", "password": "plenty of trees 9" });
    let request = app
        .client
        .request(reqwest::Method::POST, "/api/auth/signup")
        .json(&body);
    let request = request
        .header("x-forwarded-host", "evil.example")
        .header("origin", "https://evil.example");
    app.client.send(request).await.expect(201);

    app.code("ada@example.com", 1).await;

    let mail = app.mails_to("ada@example.com").remove(0);
    assert!(
        mail.contains("https://chat.example.com") && !mail.contains("evil.example"),
        "{mail}"
    );
}

#[tokio::test]
async fn without_mail_people_still_sign_up() {
    let app = TestApp::spawn_with(|config| config.mail = MailRoute::Nowhere).await;
    app.sign_up("ada").await;
    let disabled = r#"auth_mails_total{outcome="disabled",service="auth-service"}"#;
    eventually("it is counted", async || {
        (app.metric(disabled).await > 0.5).then_some(())
    })
    .await;
}
