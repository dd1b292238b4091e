//! What every store must do, as one test that each is put through.

use std::io::Write;
use std::sync::Arc;

use snapshotter_vault::store::{Absent, Cause, Content, Error, Length, Name, Object, Store};

/// Bytes that do not repeat within a mebibyte.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A content that a thread writes, and does not finish unless it is told to.
pub(crate) fn piped(data: Vec<u8>, length: Length, finish: bool) -> Content {
    let (mut to, content) = Content::pipe(length);
    std::thread::spawn(move || {
        if to.write_all(&data).and_then(|()| to.flush()).is_ok() && finish {
            let _ = to.finish();
        }
    });
    content
}

pub(crate) async fn all_of(store: &dyn Store, object: &Object) -> Vec<u8> {
    store.get(object, 0..object.size).await.unwrap().to_vec()
}

#[track_caller]
pub(crate) fn is<T: std::fmt::Debug>(result: Result<T, Error>, cause: Cause) {
    let error = result.unwrap_err();
    assert_eq!(error.cause(), Some(cause), "{error}: {:?}", std::error::Error::source(&error));
}

/// Puts `store`, which is empty, through everything. `large` bytes take more than one part.
pub(crate) async fn run(store: Arc<dyn Store>, large: usize) {
    puts_and_gets(&*store, large).await;
    lists(&*store).await;
    replaces_nothing(&*store, large).await;
    takes_all_or_nothing(&*store, large).await;
    if store.promises().absent != Absent::Looked {
        one_of_many_wins(&store).await;
    }
    deletes(&*store).await;
    assert_eq!(store.leftovers().await.unwrap(), []);
}

async fn puts_and_gets(store: &dyn Store, large: usize) {
    for (length, said) in [
        (0, Length::Exact(0)),
        (1, Length::Unknown),
        (70_000, Length::About(1_000_000)),
        (large, Length::Unknown),
        (large + 1, Length::Exact(large as u64 + 1)),
        (large + 2, Length::About(5)),
    ] {
        let data = bytes(length);
        let name = name(&format!("put/{length}.tar.zst"));
        let put = store.put(&name, piped(data.clone(), said, true)).await.unwrap();
        assert_eq!((&put.name, put.size), (&name, length as u64));
        let head = store.head(&name).await.unwrap();
        assert_eq!((&head.name, head.size), (&name, length as u64));
        assert!(all_of(store, &head).await == data, "{length} bytes are what was put");
        assert!(all_of(store, &put).await == data, "what put gives can be read with");
        let end = head.size;
        for range in [0..0, 0..1.min(end), end / 2..end, end.saturating_sub(10)..end, end..end] {
            let got = store.get(&head, range.clone()).await.unwrap();
            let (from, to) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
            assert!(got[..] == data[from..to], "{range:?} of {length}");
        }
    }
    is(store.head(&name("put/none")).await, Cause::Missing);
    let none = Object { name: name("put/none"), size: 10, tag: None, modified: None };
    is(store.get(&none, 0..5).await, Cause::Missing);
}

async fn lists(store: &dyn Store) {
    let names = ["list/a b", "list/a+b%20c", "list/sub/z.json", "list/sub/ü#?&=;x", "listing/not in it"];
    for text in names {
        store.put(&name(text), Content::bytes(text.as_bytes().to_vec())).await.unwrap();
    }
    for folder in ["list", "list/", "/list/"] {
        let listing = store.list(folder).await.unwrap();
        let found: Vec<&str> = listing.objects.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(found, &names[..4], "{folder}");
        assert_eq!(listing.foreign, 0);
        for object in &listing.objects {
            assert_eq!(object.size, object.name.as_str().len() as u64);
            let age = object.modified.expect("a time").elapsed().unwrap_or_default();
            assert!(age.as_secs() < 600, "{age:?}");
            // What a listing gives can be read with.
            assert_eq!(all_of(store, object).await, object.name.as_str().as_bytes());
        }
    }
    assert_eq!(store.list("").await.unwrap().objects.len(), 11);
    assert_eq!(store.list("nothing").await.unwrap().objects, []);
}

async fn replaces_nothing(store: &dyn Store, large: usize) {
    let taken = name("taken/name.tar");
    let first = store.put(&taken, Content::bytes(&b"first"[..])).await.unwrap();
    is(store.put(&taken, Content::bytes(&b"other"[..])).await, Cause::Exists);
    is(store.put(&taken, piped(bytes(large), Length::Unknown, true)).await, Cause::Exists);
    assert_eq!(all_of(store, &first).await, b"first");
}

async fn takes_all_or_nothing(store: &dyn Store, large: usize) {
    for (length, said) in [
        (0, Length::Unknown),
        (100, Length::Unknown),
        (large, Length::Unknown),
        (large, Length::Exact(large as u64 + 1)),
    ] {
        let broken = name("broken/off.tar");
        is(store.put(&broken, piped(bytes(length), said, false)).await, Cause::Content);
        is(store.head(&broken).await, Cause::Missing);
        assert_eq!(store.list("broken").await.unwrap().objects, []);
    }
    // A finished stream of another length than it was said to have.
    for said in [99, 101] {
        is(
            store.put(&name("broken/length"), piped(bytes(100), Length::Exact(said), true)).await,
            Cause::Content,
        );
    }
    assert_eq!(store.list("broken").await.unwrap().objects, []);
}

async fn one_of_many_wins(store: &Arc<dyn Store>) {
    let tasks: Vec<_> = (0..6_u8)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                store.put(&name("race/name"), Content::bytes(vec![i; 5000])).await.map(|_| i)
            })
        })
        .collect();
    let mut won = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(i) => won.push(i),
            lost => is(lost, Cause::Exists),
        }
    }
    let head = store.head(&name("race/name")).await.unwrap();
    assert_eq!(won.len(), 1, "one writer wins");
    assert_eq!(all_of(&**store, &head).await, vec![won[0]; 5000]);
}

async fn deletes(store: &dyn Store) {
    let gone = name("delete/me");
    let object = store.put(&gone, Content::bytes(&b"x"[..])).await.unwrap();
    store.delete(&gone).await.unwrap();
    is(store.head(&gone).await, Cause::Missing);
    is(store.get(&object, 0..1).await, Cause::Missing);
    assert_eq!(store.list("delete").await.unwrap().objects, []);
    // The name is free again.
    store.put(&gone, Content::bytes(&b"y"[..])).await.unwrap();
}

/// A request to a server of S3 that no store makes, signed; gives the status.
pub(crate) async fn signed(port: u16, method: &str, path: &str) -> u16 {
    use object_store::aws::{AwsAuthorizer, AwsCredential};
    use object_store::client::{HttpRequest, HttpRequestBody};
    let credential = AwsCredential { key_id: "key".into(), secret_key: "secret".into(), token: None };
    let uri = format!("http://127.0.0.1:{port}{path}");
    let mut request: HttpRequest =
        http::Request::builder().method(method).uri(&uri).body(HttpRequestBody::empty()).unwrap();
    AwsAuthorizer::new(&credential, "s3", "us-east-1").try_authorize(&mut request, None).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n");
    for (name, value) in request.headers() {
        head.extend([name.as_str(), ": ", value.to_str().unwrap(), "\r\n"]);
    }
    if !request.headers().contains_key("host") {
        head.extend(["host: 127.0.0.1:", &port.to_string(), "\r\n"]);
    }
    let answer = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    });
    answer.await.unwrap().unwrap_or(0)
}
