//! The services, and how each is told where it is and who asks. What of it is settled by variables goes by
//! their usual names, which the services' own programs use too.

use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use secrecy::ExposeSecret;
use url::Url;

use super::profile;
use super::unfinished::Unfinished;
use crate::store::address::{Bucket, Cloud};
use crate::store::error::{Error, Result};
use crate::store::limits::Limits;
use crate::store::settings::Settings;
use crate::store::wire::Wire;

/// A bucket, opened.
pub(super) struct Opened {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) private: bool,
    pub(super) unfinished: Option<Unfinished>,
}

/// Settings of S3 that are no secrets. Secrets come by themselves, since a file may hold them.
const AWS: &[&str] = &[
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_REQUEST_PAYER",
];
/// Settings of Azure that are no secrets.
const AZURE: &[&str] = &[
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_MSI_ENDPOINT",
    "AZURE_IDENTITY_ENDPOINT",
    "AZURE_OBJECT_ID",
    "AZURE_MSI_RESOURCE_ID",
];

pub(super) fn open(bucket: &Bucket, settings: &Settings, limits: &Limits, wire: &Wire) -> Result<Opened> {
    match bucket.cloud {
        Cloud::S3 => s3(bucket, settings, limits, wire),
        Cloud::Azure => azure(bucket, settings, limits, wire),
        Cloud::Google => google(bucket, settings, limits, wire),
    }
}

fn s3(bucket: &Bucket, settings: &Settings, limits: &Limits, wire: &Wire) -> Result<Opened> {
    let option = |name: &str| bucket.options.get(name).cloned();
    let profile = profile::find(settings, option("profile").as_deref());
    if let (Some(name), None) = (option("profile"), &profile) {
        return Err(wrong("profile", format!("neither ~/.aws/credentials nor ~/.aws/config has {name}")));
    }
    let profile = profile.unwrap_or_default();
    let region = option("region")
        .or_else(|| settings.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]))
        .or_else(|| profile.get("region").cloned())
        .unwrap_or_else(|| "us-east-1".to_owned());
    let endpoint =
        option("endpoint").or_else(|| settings.first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    let endpoint = endpoint.map(|endpoint| server("endpoint", &endpoint)).transpose()?;
    let place = endpoint_of(bucket, endpoint.as_ref(), &region, option("style").as_deref())?;

    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket.bucket)
        .with_region(&region)
        // The address of the bucket itself, however it is made up.
        .with_virtual_hosted_style_request(true)
        .with_endpoint(place.as_str().trim_end_matches('/'))
        .with_disable_bulk_delete(true)
        .with_retry(retry(limits))
        .with_http_connector(wire.clone());
    for name in AWS {
        if let (Some(value), Ok(key)) =
            (settings.text(name), name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>())
        {
            builder = builder.with_config(key, value);
        }
    }
    let key = settings.secret("AWS_ACCESS_KEY_ID")?;
    let secret = settings.secret("AWS_SECRET_ACCESS_KEY")?;
    let token = settings.secret("AWS_SESSION_TOKEN")?;
    let chosen = option("profile").is_some();
    match (key, secret) {
        (Some(key), Some(secret)) if !chosen => {
            builder = builder
                .with_access_key_id(key.expose_secret())
                .with_secret_access_key(secret.expose_secret());
            if let Some(token) = token {
                builder = builder.with_token(token.expose_secret());
            }
        }
        (Some(_), None) if !chosen => return Err(wrong("AWS_SECRET_ACCESS_KEY", "it is not set".to_owned())),
        (None, Some(_)) if !chosen => return Err(wrong("AWS_ACCESS_KEY_ID", "it is not set".to_owned())),
        _ => {
            if let (Some(key), Some(secret)) =
                (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key"))
            {
                builder = builder.with_access_key_id(key).with_secret_access_key(secret);
                if let Some(token) = profile.get("aws_session_token") {
                    builder = builder.with_token(token);
                }
            }
        }
    }
    match option("checksum").as_deref() {
        // S3 wants one where objects are locked, and keeps it. It costs nothing, as the signature has it.
        None | Some("sha256") => builder = builder.with_checksum_algorithm(Checksum::SHA256),
        Some("none") => {}
        Some(other) => return Err(wrong("checksum", format!("{other:?} is neither sha256 nor none"))),
    }
    match option("conditional").as_deref() {
        None | Some("yes") => wire.set_conditional(true),
        Some("no") => wire.set_conditional(false),
        Some(other) => return Err(wrong("conditional", format!("{other:?} is neither yes nor no"))),
    }
    let store: Arc<AmazonS3> = Arc::new(builder.build().map_err(|error| wrong("S3", super::words(&error)))?);
    let unfinished = Unfinished::new(store.credentials().clone(), region, place.clone(), wire.clone());
    Ok(Opened { store, private: place.scheme() == "https", unfinished: Some(unfinished) })
}

/// The URL of the bucket itself: names in a path by default, as every server takes that; in the name of the
/// host where `style=virtual` asks for it.
fn endpoint_of(bucket: &Bucket, endpoint: Option<&Url>, region: &str, style: Option<&str>) -> Result<Url> {
    let amazon = format!("https://s3.{region}.amazonaws.com/");
    let mut place = match endpoint {
        Some(endpoint) => endpoint.clone(),
        None => amazon.parse().map_err(|_| wrong("region", format!("{region:?} cannot be one")))?,
    };
    match style {
        None | Some("path") => {
            let path = format!("{}/{}", place.path().trim_end_matches('/'), bucket.bucket);
            place.set_path(&path);
        }
        Some("virtual") => {
            let host = format!("{}.{}", bucket.bucket, place.host_str().unwrap_or_default());
            place.set_host(Some(&host)).map_err(|error| wrong("style", format!("{host}: {error}")))?;
        }
        Some(other) => return Err(wrong("style", format!("{other:?} is neither path nor virtual"))),
    }
    Ok(place)
}

fn azure(bucket: &Bucket, settings: &Settings, limits: &Limits, wire: &Wire) -> Result<Opened> {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(&bucket.bucket)
        .with_retry(retry(limits))
        .with_http_connector(wire.clone());
    let account = bucket.options.get("account").cloned();
    let account = account.or_else(|| {
        settings.first(&["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT", "AZURE_ACCOUNT_NAME"])
    });
    let Some(account) = account else {
        return Err(wrong(
            "AZURE_STORAGE_ACCOUNT_NAME",
            "it is not set, and the address has no ?account=".to_owned(),
        ));
    };
    builder = builder.with_account(account);
    let endpoint =
        bucket.options.get("endpoint").cloned().or_else(|| settings.text("AZURE_STORAGE_ENDPOINT"));
    let endpoint = endpoint.map(|endpoint| server("endpoint", &endpoint)).transpose()?;
    let private = endpoint.as_ref().is_none_or(|endpoint| endpoint.scheme() == "https");
    if let Some(endpoint) = endpoint {
        builder = builder
            .with_endpoint(endpoint.as_str().trim_end_matches('/').to_owned())
            .with_allow_http(!private);
    }
    for name in AZURE {
        if let (Some(value), Ok(key)) =
            (settings.text(name), name.to_ascii_lowercase().parse::<AzureConfigKey>())
        {
            builder = builder.with_config(key, value);
        }
    }
    for (name, key) in [
        ("AZURE_STORAGE_ACCOUNT_KEY", AzureConfigKey::AccessKey),
        ("AZURE_STORAGE_KEY", AzureConfigKey::AccessKey),
        ("AZURE_STORAGE_SAS_TOKEN", AzureConfigKey::SasKey),
        ("AZURE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
    ] {
        if let Some(secret) = settings.secret(name)? {
            builder = builder.with_config(key, secret.expose_secret());
        }
    }
    let store = builder.build().map_err(|error| wrong("Azure", super::words(&error)))?;
    Ok(Opened { store: Arc::new(store), private, unfinished: None })
}

fn google(bucket: &Bucket, settings: &Settings, limits: &Limits, wire: &Wire) -> Result<Opened> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&bucket.bucket)
        .with_retry(retry(limits))
        .with_http_connector(wire.clone());
    let endpoint = bucket.options.get("endpoint").map(|endpoint| server("endpoint", endpoint)).transpose()?;
    let private = endpoint.as_ref().is_none_or(|endpoint| endpoint.scheme() == "https");
    if let Some(endpoint) = endpoint {
        builder = builder.with_config(GoogleConfigKey::BaseUrl, endpoint.as_str().trim_end_matches('/'));
    }
    if let Some(path) = settings.first(&["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"]) {
        builder = builder.with_config(GoogleConfigKey::ApplicationCredentials, path);
    }
    if let Some(key) = settings.secret("GOOGLE_SERVICE_ACCOUNT_KEY")? {
        builder = builder.with_service_account_key(key.expose_secret());
    }
    if settings.text("GOOGLE_SKIP_SIGNATURE").is_some_and(|value| value == "true") {
        builder = builder.with_skip_signature(true);
    }
    let store = builder.build().map_err(|error| wrong("Google Cloud Storage", super::words(&error)))?;
    Ok(Opened { store: Arc::new(store), private, unfinished: None })
}

/// The URL of a server, from an option that may leave out `https://`.
fn server(setting: &str, text: &str) -> Result<Url> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let problem = match Url::parse(&with_scheme) {
        Ok(url) if url.password().is_some() || !url.username().is_empty() => {
            "it has a user or password in it"
        }
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "it is neither http nor https",
        Ok(url) if url.query().is_some() || url.fragment().is_some() => "it has a ? or # in it",
        Ok(url) => return Ok(url),
        Err(_) => "it is no URL",
    };
    Err(wrong(setting, problem.to_owned()))
}

fn retry(limits: &Limits) -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 10, retry_timeout: limits.retry }
}

fn wrong(setting: &str, problem: String) -> Error {
    Error::Setting { setting: setting.to_owned(), problem }
}
