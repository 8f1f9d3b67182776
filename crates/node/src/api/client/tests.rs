//! Writes that take long, against a listener that says what the test wants.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;

/// Answers the first `answers` questions for its version and nothing else, and keeps every connection open. Notes what it was asked.
async fn answer_versions(listener: UnixListener, mut answers: usize, asked: Arc<Mutex<Vec<String>>>) {
    let version = serde_json::json!({
        "version": "1", "pid": 1, "httpAddr": "", "dataDir": "", "hostId": "", "started": "2026-01-01T00:00:00Z", "draining": false
    });
    let version = version.to_string();
    let mut open = Vec::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let request = String::from_utf8(head).unwrap().split(" HTTP").next().unwrap().to_owned();
        if request == "GET /v1/version" && answers > 0 {
            answers -= 1;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{version}", version.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked.lock().unwrap().push(request);
        open.push(stream);
    }
}

/// Deletes something that is never deleted.
async fn delete(answers: usize) -> (ClientError, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let client = Client { write_timeout: Duration::from_millis(50), ..Client::new(folder.path()).unwrap() };
    let asked = Arc::default();
    let listener = UnixListener::bind(&client.socket).unwrap();
    let serving = AbortOnDropHandle::new(tokio::spawn(answer_versions(listener, answers, Arc::clone(&asked))));
    let object = ResourceRef { kind: Kind::ConfigMap, namespace: "default".into(), name: "a".into() };
    let error = client.delete(&object).await.unwrap_err();
    drop(serving);
    let asked = asked.lock().unwrap().clone();
    (error, asked)
}

#[test]
fn a_write_is_given_minutes() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Client::new(folder.path()).unwrap().write_timeout, Duration::from_secs(300));
}

#[tokio::test]
async fn a_berth_that_answers_and_deletes_slowly_isnt_said_to_be_stopped() {
    let (error, asked) = delete(2).await;
    assert_eq!(asked, ["GET /v1/version", "DELETE /v1/resources/configmaps/default/a", "GET /v1/version"]);
    assert!(matches!(error, ClientError::Slow { .. }) && error.is_unreachable(), "{error}");
    let text = error.to_string();
    assert!(text.contains("may still do it") && !text.contains("stopped") && !text.contains("kill"), "{text}");
}

#[tokio::test]
async fn a_berth_that_was_stopped_while_it_deleted_is_said_to_be() {
    let (error, asked) = delete(1).await;
    assert_eq!(asked.len(), 3);
    assert!(matches!(error, ClientError::Timeout { .. }) && error.to_string().contains("kill -CONT"), "{error}");
}
