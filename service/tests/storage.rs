//! The verbs of storage, once on a folder and once on a real S3 server: the same story must hold for both.

#[allow(unreachable_pub, reason = "the end-to-end tests share it")]
#[path = "../../tests/harness/s3.rs"]
mod s3;

use std::time::Duration;

use bytes::Bytes;
use service::storage::{
    About, ContentType, Error, PART_SIZE, Sse, StorageConfig, StorageKind, Store, md5_hex, multipart_etag,
};
use tokio::io::AsyncReadExt;

fn disk(folder: &std::path::Path, prefix: &str) -> Store {
    let config =
        StorageConfig { kind: StorageKind::Disk, path: folder.into(), prefix: prefix.into(), ..Default::default() };
    Store::open(&config).expect("opens")
}

#[tokio::test]
async fn a_folder_keeps_objects() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = disk(folder.path(), "pre/fix");
    objects(&store).await;
    uploads(&store).await;
    assert_eq!(store.presign_get("a", Duration::from_secs(60), "a").await.expect("answers"), None);
}

#[tokio::test]
async fn a_bucket_keeps_objects() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = s3::S3Server::start(folder.path()).await.expect("serves");
    for prefix in ["", "pre/fix"] {
        let store = Store::open(&server.config(prefix)).expect("opens");
        objects(&store).await;
        uploads(&store).await;
    }
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn objects(store: &Store) {
    assert_eq!(store.head("r1/rec/a.webm").await.expect("answers"), None);
    assert!(matches!(store.get("r1/rec/a.webm").await, Err(Error::NotFound(_))));
    store.put("r1/rec/a.webm", bytes("hello storage"), ContentType::WEBM).await.expect("writes");
    store.put("r1/rec/segments/x.json", bytes("{}"), ContentType::JSON).await.expect("writes");
    store.put("r10/rec/b.webm", bytes("other room"), ContentType::WEBM).await.expect("writes");
    store.put("r1/rec/segments/x.json", bytes("{\"v\":2}"), ContentType::JSON).await.expect("replaces");

    assert_eq!(store.get("r1/rec/a.webm").await.expect("reads"), "hello storage");
    assert_eq!(store.get("r1/rec/segments/x.json").await.expect("reads"), "{\"v\":2}");
    let mut download = store.read("r1/rec/a.webm", Some(6..1000)).await.expect("reads");
    assert_eq!((download.size, download.range.clone()), (13, 6..13));
    let mut text = String::new();
    download.body.read_to_string(&mut text).await.expect("reads");
    assert_eq!(text, "storage");
    assert!(matches!(store.read("r1/rec/a.webm", Some(13..14)).await, Err(Error::Refused { .. })));

    let digest = store.digest("r1/rec/a.webm", false).await.expect("answers").expect("is there");
    assert_eq!((digest.size, digest.etag), (13, Some(md5_hex(b"hello storage"))));
    let keys =
        |objects: Vec<service::storage::Object>| objects.into_iter().map(|o| (o.key, o.size)).collect::<Vec<_>>();
    let room = keys(store.list("r1/").await.expect("lists"));
    assert_eq!(room, [("r1/rec/a.webm".to_owned(), 13), ("r1/rec/segments/x.json".to_owned(), 7)]);
    assert_eq!(store.list("").await.expect("lists").len(), 3);
    assert_eq!(store.list("nothing/").await.expect("lists"), []);

    for key in ["r1/rec/a.webm", "r1/rec/a.webm", "r1/rec/segments/x.json", "r10/rec/b.webm"] {
        store.delete(key).await.expect("deletes, twice too");
    }
    assert_eq!(store.list("").await.expect("lists"), []);
    assert!(matches!(store.put("../x", bytes(""), ContentType::JSON).await, Err(Error::InvalidKey(_))));
}

async fn uploads(store: &Store) {
    let key = "r1/rec/big.webm";
    let (first, last) = (Bytes::from(vec![1; PART_SIZE]), Bytes::from(vec![2; 1000]));
    let upload = store.create_upload(key, ContentType::WEBM).await.expect("begins");
    assert_eq!(store.head(key).await.expect("answers"), None, "nothing is there before all of it is");
    // Part 1 last, as a recorder does; and once too early, with other bytes.
    store.upload_part(key, &upload, 1, Bytes::from(vec![9; PART_SIZE])).await.expect("takes");
    let two = store.upload_part(key, &upload, 2, last.clone()).await.expect("takes");
    let one = store.upload_part(key, &upload, 1, first.clone()).await.expect("takes");
    assert_eq!((one.clone(), two.clone()), (md5_hex(&first), md5_hex(&last)));
    let parts = store.list_parts(key, &upload).await.expect("lists");
    let sizes: Vec<_> = parts.iter().map(|part| (part.number, part.size)).collect();
    assert_eq!(sizes, [(1, PART_SIZE as u64), (2, 1000)]);
    let same = |(part, sent): (&service::storage::Part, &String)| part.etag.as_ref().is_none_or(|etag| etag == sent);
    assert!(parts.iter().zip([&one, &two]).all(same), "{parts:?}");
    assert_eq!(store.list_uploads("r1/").await.expect("lists")[0].id, upload);
    assert_eq!(store.list_uploads("r2/").await.expect("lists"), []);
    let etags = [one, two];
    store.complete_upload(key, &upload, &etags).await.expect("completes");
    let object = store.digest(key, true).await.expect("answers").expect("is there");
    // Local disk compared the parts when it put them together.
    let etag = multipart_etag(&etags).filter(|_| matches!(store, Store::S3(_)));
    assert_eq!((object.size, object.etag), (PART_SIZE as u64 + 1000, etag));
    let mut download = store.read(key, Some(PART_SIZE as u64 - 1..PART_SIZE as u64 + 1)).await.expect("reads");
    let mut seam = Vec::new();
    download.body.read_to_end(&mut seam).await.expect("reads");
    assert_eq!(seam, [1, 2]);
    assert!(store.upload_part(key, &upload, 1, last.clone()).await.is_err(), "a completed upload takes no more");

    let abandoned = store.create_upload(key, ContentType::WEBM).await.expect("begins");
    store.upload_part(key, &abandoned, 1, last).await.expect("takes");
    store.abort_upload(key, &abandoned).await.expect("gives up");
    assert!(store.complete_upload(key, &abandoned, &etags[1..]).await.is_err());
    store.delete(key).await.expect("deletes");
    assert_eq!(store.list("").await.expect("lists"), [], "parts are not left behind");
    assert_eq!(store.list_uploads("").await.expect("lists"), [], "uploads are not left behind");
}

#[tokio::test]
async fn links_work_without_keys_and_only_as_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = s3::S3Server::start(folder.path()).await.expect("serves");
    let store = Store::open(&server.config("p")).expect("opens");
    store.put("r/a.webm", bytes("hello"), ContentType::WEBM).await.expect("writes");
    let link = store.presign_get("r/a.webm", Duration::from_secs(60), "a.webm").await.expect("signs").expect("a link");
    let (head, body) = get(&server, &link).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "hello");
    let (head, _) = get(&server, &link.replace("a.webm?", "b.webm?")).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
}

#[tokio::test]
async fn links_lead_where_users_reach_the_storage() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = s3::S3Server::start(folder.path()).await.expect("serves");
    let mut config = server.config("p");
    let host = format!("localhost:{}", server.address().port());
    config.public_endpoint = format!("http://{host}");
    let store = Store::open(&config).expect("opens");
    store.put("r/a.webm", bytes("hello"), ContentType::WEBM).await.expect("writes");
    let link = store.presign_get("r/a.webm", Duration::from_secs(60), "a.webm").await.expect("signs").expect("a link");
    let path = link.strip_prefix(&config.public_endpoint).unwrap_or_else(|| panic!("{link}"));
    let (head, body) = get_as(&server, &host, path).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "hello");
    let (head, _) = get_as(&server, &server.address().to_string(), path).await;
    assert!(head.starts_with("HTTP/1.1 403"), "the host is signed: {head}");
}

#[tokio::test]
async fn what_a_killed_writer_left_in_a_folder_goes_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = disk(folder.path(), "");
    let (day, upload) = (Duration::from_secs(24 * 3600), store.create_upload("r1/a.webm", ContentType::WEBM).await);
    let left = |name: &str| folder.path().join(".uploads").join(name);
    for (name, age) in [("old", 2 * day), ("new", day / 2)] {
        let file = std::fs::File::create(left(name)).expect("written");
        file.set_modified(std::time::SystemTime::now() - age).expect("an earlier time");
    }
    store.sweep(day).await.expect("sweeps");
    assert!(!left("old").exists() && left("new").exists() && left(&upload.expect("begins")).exists());
}

/// The least HTTP client: the link must work for anybody.
async fn get(server: &s3::S3Server, link: &str) -> (String, String) {
    let host = server.address().to_string();
    get_as(server, &host, link.strip_prefix(&format!("http://{host}")).expect("our server")).await
}

/// The same of a server that has this name.
async fn get_as(server: &s3::S3Server, host: &str, path: &str) -> (String, String) {
    use tokio::io::AsyncWriteExt;
    let mut socket = tokio::net::TcpStream::connect(server.address()).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("reads");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_storage_that_ignores_encryption_gets_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = s3::S3Server::start(folder.path()).await.expect("serves");
    let mut config = server.config("");
    config.sse = Sse::Aes256;
    let store = Store::open(&config).expect("opens");
    for refused in [
        store.prove().await,
        store.put("a", bytes("x"), ContentType::JSON).await,
        store.create_upload("a", ContentType::WEBM).await.map(drop),
    ] {
        let error = refused.expect_err("it does not confirm");
        assert!(matches!(&error, Error::Refused { why, .. } if why.contains("AES256")), "{error}");
    }
    assert_eq!(store.list_uploads("").await.expect("lists"), []);
    assert_eq!(store.list("probe/").await.expect("lists"), []);
    server.confirm_encryption(true);
    store.prove().await.expect("it confirms now");
    // What proved it goes without anybody waiting for it. This server fails if that happens while it lists.
    while store.list("probe/").await.map_or(true, |found| !found.is_empty()) {
        tokio::task::yield_now().await;
    }
    uploads(&store).await;
    // The proof holds for a while; a write is checked all the same.
    server.confirm_encryption(false);
    store.prove().await.expect("it was proven");
    assert!(matches!(store.put("a", bytes("x"), ContentType::JSON).await, Err(Error::Refused { .. })));
    assert_eq!(store.head("a").await.expect("answers"), None, "nothing lies there in the clear");
}

#[tokio::test]
async fn a_storage_that_stopped_to_encrypt_keeps_what_it_had() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = s3::S3Server::start(folder.path()).await.expect("serves");
    let mut config = server.config("");
    config.sse = Sse::Aes256;
    let before = Store::open(&config).expect("opens");
    server.confirm_encryption(true);
    before.put("a", bytes("good"), ContentType::JSON).await.expect("writes");
    server.confirm_encryption(false);
    let refuses = async |store: &Store, key: &str| {
        let put = store.put(key, bytes("in the clear"), ContentType::JSON).await;
        assert!(matches!(put, Err(Error::Refused { .. })), "{put:?}");
    };
    // One that was opened since, and the one that had seen it confirmed, after the first time.
    let since = Store::open(&config).expect("opens");
    refuses(&before, "b").await;
    for store in [&since, &since, &before, &before] {
        refuses(store, "a").await;
        assert_eq!(store.get("a").await.expect("is there"), "good");
    }
    server.confirm_encryption(true);
    for store in [&since, &before] {
        store.put("a", bytes("better"), ContentType::JSON).await.expect("it confirms again");
    }
}

#[tokio::test]
async fn a_look_tells_that_a_key_service_encrypts() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = s3::S3Server::start(folder.path()).await.expect("serves");
    server.encrypt_by_default();
    let open = || Store::open(&server.config("")).expect("opens");
    open().put("a", bytes("x"), ContentType::JSON).await.expect("writes");
    let since = open();
    let object = since.digest("a", false).await.expect("answers").expect("is there");
    assert_eq!((object.size, object.etag), (1, None), "its ETag says nothing");
}

#[tokio::test]
async fn what_a_folder_does_not_take_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = disk(folder.path(), "");
    store.put("a", bytes("x"), ContentType::JSON).await.expect("writes");
    store.put("a/b", bytes("x"), ContentType::JSON).await.expect_err("it is no folder");
    let left: Vec<_> = std::fs::read_dir(folder.path().join(".uploads")).expect("reads").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn objects_say_what_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = s3::S3Server::start(folder.path()).await.expect("serves");
    let mut config = server.config("");
    let tags = [("course".to_owned(), "Rust & co".to_owned())].into();
    let about = About { kind: ContentType::of("r/p1-mic-1.webm"), tags };
    for (tagging, sent) in [(false, None), (true, Some("course=Rust%20%26%20co"))] {
        config.tagging = tagging;
        let store = Store::open(&config).expect("opens");
        store.put("r/p1-mic-1.webm", bytes("x"), about.clone()).await.expect("writes");
        assert_eq!(server.last_tagging().as_deref(), sent);
        let upload = store.create_upload("r/p1-mic-1.webm", about.clone()).await.expect("begins");
        assert_eq!(server.last_tagging().as_deref(), sent);
        store.abort_upload("r/p1-mic-1.webm", &upload).await.expect("gives up");
        let link = store.presign_get("r/p1-mic-1.webm", Duration::from_secs(60), "a.webm").await.expect("signs");
        let (head, _) = get(&server, &link.expect("a link")).await;
        assert!(head.contains("content-type: audio/webm") && head.contains("attachment; filename="), "{head}");
    }
}

#[tokio::test]
async fn a_rotated_key_works_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = s3::S3Server::start(&folder.path().join("s3")).await.expect("serves");
    let file = folder.path().join("secret");
    let mut config = server.config("");
    std::fs::write(&file, "expired").expect("written");
    let right = std::mem::take(&mut config.secret_key);
    config.secret_key_file = Some(file.clone());
    let store = Store::open(&config).expect("opens");
    assert!(matches!(store.put("a", bytes("x"), ContentType::JSON).await, Err(Error::Denied { .. })));
    std::fs::write(&file, right).expect("written");
    store.put("a", bytes("x"), ContentType::JSON).await.expect("the new key counts");
}

#[tokio::test]
async fn trouble_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = s3::S3Server::start(folder.path()).await.expect("serves");
    let mut config = server.config("");
    config.secret_key = "wrong".into();
    let stranger = Store::open(&config).expect("opens");
    assert!(matches!(stranger.put("a", bytes("x"), ContentType::JSON).await, Err(Error::Denied { .. })));
    config.endpoint = "http://127.0.0.1:1".into();
    let nobody = Store::open(&config).expect("opens");
    assert!(matches!(nobody.put("a", bytes("x"), ContentType::JSON).await, Err(Error::Unavailable { .. })));
    for (key, bad) in [
        ("endpoint", StorageConfig { endpoint: "not a url".into(), ..config.clone() }),
        ("secret_key", StorageConfig { secret_key: String::new(), ..config.clone() }),
        ("bucket", StorageConfig { bucket: String::new(), ..config.clone() }),
        ("sse_kms_key", StorageConfig { sse_kms_key: "k".into(), ..config.clone() }),
        ("request_timeout_s", StorageConfig { request_timeout_s: 0, ..config.clone() }),
        ("prefix", StorageConfig { prefix: "../up".into(), ..config.clone() }),
    ] {
        let error = Store::open(&bad).expect_err(key).to_string();
        assert!(error.contains(key), "{error}");
    }
}

/// After a restart nothing but the answers says that a bucket encrypts by default.
#[tokio::test]
async fn what_a_key_service_encrypted_has_no_digest() {
    use tokio::io::AsyncWriteExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.expect("a request"));
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\netag: \"0cc175b9c0f1b6a831c399e269772661\"\r\n\
                      x-amz-server-side-encryption: aws:kms\r\n\r\n{}";
        socket.write_all(answer.as_bytes()).await.expect("answers");
        socket.flush().await.expect("answers");
        // Until the other side has read it.
        let _ = socket.read_u8().await;
    });
    let config = StorageConfig {
        kind: StorageKind::S3,
        endpoint,
        bucket: "b".into(),
        access_key: "k".into(),
        secret_key: "s".into(),
        ..Default::default()
    };
    let store = Store::open(&config).expect("opens");
    assert_eq!(store.get("r1/recording.json").await.expect("reads"), "{}");
    drop(store);
    server.abort();
}
