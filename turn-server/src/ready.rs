//! `turn-server ready`: asks a running server or recorder whether it can work; for health checks and scripts.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use crate::plain_http::request;

/// How long between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// The arguments of `turn-server ready`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to ask.
    #[arg(long, default_value = "http://127.0.0.1:8080/readyz")]
    pub url: String,
    /// Keep asking for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub wait: u64,
}

/// Asks until the answer is yes or the time is over.
///
/// # Errors
/// The last answer, for people.
pub async fn run(args: &Args) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(args.wait);
    loop {
        let why = match request(Method::GET, &args.url, None, None).await {
            Ok((200, _)) => return Ok(()),
            Ok((status, body)) => format!("{}: {status}: {}", args.url, body.trim()),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(why);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Serves these answers, a connection each.
    async fn serve(answers: Vec<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        format!("http://{address}/readyz")
    }

    const NOT_YET: &str =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\nconnection: close\r\n\r\nno relay\n";
    const YES: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn asks_until_the_answer_is_yes() {
        let url = serve(vec![NOT_YET, NOT_YET, YES]).await;
        run(&Args { url, wait: 20 }).await.unwrap();
    }

    #[tokio::test]
    async fn says_what_the_last_answer_was() {
        let url = serve(vec![NOT_YET]).await;
        let why = run(&Args { url, wait: 0 }).await.unwrap_err();
        assert!(why.ends_with("/readyz: 503: no relay"), "{why}");
        let why = run(&Args { url: "ftp://localhost/".into(), wait: 0 }).await.unwrap_err();
        assert!(why.contains("must be http://"), "{why}");
    }
}
