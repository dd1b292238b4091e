//! Uploads to S3 that were begun and never completed: their parts lie in the bucket unseen, and are paid for.
//! `object_store` does not list them, so the two requests are made here, with its signatures.

use std::time::SystemTime;

use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use quick_xml::de;
use serde::Deserialize;
use url::Url;

use crate::store::wire::Wire;
use crate::store::{LEFT_FOR_DEAD, Leftover};

/// The longest answer that is read: a thousand uploads have some hundred kilobytes.
const LONGEST: usize = 8 << 20;
/// Pages of a listing, at most, whatever a server says.
const PAGES: usize = 1000;

/// Lists and aborts uploads.
#[derive(Debug)]
pub(crate) struct Unfinished {
    credentials: AwsCredentialProvider,
    region: String,
    bucket: Url,
    wire: Wire,
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Uploads {
    #[serde(default)]
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    #[serde(default, rename = "Upload")]
    all: Vec<One>,
}

#[derive(Debug, Deserialize)]
struct One {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "UploadId")]
    id: String,
    #[serde(rename = "Initiated")]
    initiated: Option<String>,
}

impl Unfinished {
    pub(crate) fn new(credentials: AwsCredentialProvider, region: String, bucket: Url, wire: Wire) -> Self {
        Unfinished { credentials, region, bucket, wire }
    }

    /// Uploads to keys below `prefix` that were begun too long ago for a live run.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Leftover>, String> {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let mut leftovers = Vec::new();
        let mut marker: Option<(String, String)> = None;
        for _ in 0..PAGES {
            let mut url = self.bucket.clone();
            {
                let mut query = url.query_pairs_mut();
                query.append_pair("uploads", "");
                if !prefix.is_empty() {
                    query.append_pair("prefix", &prefix);
                }
                if let Some((key, id)) = &marker {
                    query.append_pair("key-marker", key).append_pair("upload-id-marker", id);
                }
            }
            let text = self.send(http::Method::GET, &url).await?;
            let page: Uploads =
                de::from_str(&text).map_err(|error| format!("the answer is not understood: {error}"))?;
            for upload in page.all {
                // A poor server may leave the prefix out of account.
                if upload.key.starts_with(&prefix) && is_old(upload.initiated.as_deref()) {
                    let since = upload.initiated.as_deref().and_then(time);
                    leftovers.push(Leftover { id: upload.id, name: Some(upload.key), size: None, since });
                }
            }
            marker = match (page.is_truncated, page.next_key_marker) {
                (true, Some(key)) if marker.as_ref().is_none_or(|(last, _)| *last <= key) => {
                    Some((key, page.next_upload_id_marker.unwrap_or_default()))
                }
                _ => return Ok(leftovers),
            };
        }
        Ok(leftovers)
    }

    /// Removes the parts of an upload.
    pub(crate) async fn abort(&self, key: &str, id: &str) -> Result<(), String> {
        let mut url = self.bucket.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(key.split('/'));
        }
        url.query_pairs_mut().append_pair("uploadId", id);
        self.send(http::Method::DELETE, &url).await.map(drop)
    }

    async fn send(&self, method: http::Method, url: &Url) -> Result<String, String> {
        let credential = self.credentials.get_credential().await.map_err(|error| super::words(&error))?;
        let mut request: HttpRequest = http::Request::builder()
            .method(method)
            .uri(url.as_str())
            .body(HttpRequestBody::empty())
            .map_err(|error| error.to_string())?;
        let signed = AwsAuthorizer::new(&credential, "s3", &self.region).try_authorize(&mut request, None);
        signed.map_err(|error| super::words(&error))?;
        let answer = self.wire.send(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer.into_body().all(LONGEST).await.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() { Ok(text) } else { Err(format!("the server answers {status}")) }
    }
}

fn time(text: &str) -> Option<SystemTime> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from)
}

/// Whether an upload was begun too long ago for a live run. One whose time is not told is not.
fn is_old(initiated: Option<&str>) -> bool {
    let age = initiated.and_then(time).and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age > LEFT_FOR_DEAD)
}
