//! Images in registries, by the `oci-client` crate (OCI distribution-spec 1.1).
//!
//! A layer is downloaded to an unlinked file before it is read: a broken connection can then be resumed where
//! it broke, and a retry need not undo half a layer in the tree. Credentials come from docker's
//! `config.json`, its credential helpers included (`docker_credential` crate). Like docker, a registry on
//! this machine may speak plain HTTP; any other needs TLS. The async runtime that the crate needs does not
//! leave this module.

use super::{
    ImageError, LoadOptions, LoadedImage, Progress,
    oci::{self, spec::Descriptor},
    store::Store,
};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use futures_util::StreamExt;
use oci_client::{
    Client, Reference,
    client::{BlobResponse, ClientConfig, ClientProtocol},
    errors::{OciDistributionError as Failure, OciErrorCode},
    secrets::RegistryAuth,
};
use std::{
    fs::File,
    future::Future,
    io::{self, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    time::Duration,
};
use tokio::runtime::Runtime;

/// Attempts at a request, or at a download that makes no progress.
const ATTEMPTS: u32 = 5;
/// Pause before the second attempt; it doubles with each.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(20);
/// Longest silence of a registry.
const SILENCE: Duration = Duration::from_secs(60);
/// What a manifest may be.
const MANIFESTS: &[&str] = &[
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

struct Registry {
    runtime: Runtime,
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
    spool_dir: PathBuf,
}

/// Loads an image from a registry.
pub(crate) fn load(
    name: String,
    reference: &str,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<LoadedImage, ImageError> {
    progress.stage("registry", None);
    let (mut registry, manifest) = Registry::open(reference, options)?;
    oci::load_document(name, &mut registry, &manifest, None, options, progress)
}

/// Whether docker would speak plain HTTP with it: addresses 127.0.0.0/8 and ::1, and `localhost`.
fn is_local(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.rsplit_once(':').map_or(registry, |(host, _)| host),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Credentials for a registry, from docker's `config.json`.
fn credentials(registry: &str, options: &LoadOptions) -> Result<RegistryAuth, String> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let dir = options
        .docker_config
        .clone()
        .or_else(|| std::env::var_os("DOCKER_CONFIG").map(PathBuf::from))
        .or_else(home);
    let Some(path) = dir.map(|dir| dir.join("config.json")) else { return Ok(RegistryAuth::Anonymous) };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(RegistryAuth::Anonymous),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    // The key under which docker keeps Docker Hub's.
    let key = if registry == "index.docker.io" { "https://index.docker.io/v1/" } else { registry };
    match docker_credential::get_credential_from_reader(io::BufReader::new(file), key) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => Err(format!(
            "{}: it holds an identity token for {registry}, which cannot be used here: log in with a user name and a \
             password or access token (`docker login {registry}`)",
            path.display()
        )),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(RegistryAuth::Anonymous),
        // A credential store that has nothing for this registry says so by failing.
        Err(CredentialRetrievalError::HelperFailure { stdout, .. })
            if stdout.contains("credentials not found") =>
        {
            Ok(RegistryAuth::Anonymous)
        }
        Err(e) => Err(format!("{}: credentials for {registry}: {e}", path.display())),
    }
}

/// An error with its causes: reqwest's outermost message says nothing.
fn explain(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = e.source();
    }
    text
}

/// Whether another attempt may succeed.
fn transient(failure: &Failure) -> bool {
    match failure {
        Failure::RequestError(e) => e.status().is_none_or(|s| s.is_server_error() || s.as_u16() == 429),
        Failure::ServerError { code, .. } => *code >= 500 || *code == 429,
        Failure::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|e| e.code == OciErrorCode::Toomanyrequests)
        }
        Failure::IoError(_) => true,
        _ => false,
    }
}

/// What the user can do about it.
fn advice(failure: &Failure, registry: &str) -> String {
    let login = format!("check the name, and log in if it is private: `docker login {registry}`");
    match failure {
        Failure::UnauthorizedError { .. } | Failure::AuthenticationFailure(_) => login,
        Failure::RegistryError { envelope, .. }
            if envelope
                .errors
                .iter()
                .any(|e| matches!(e.code, OciErrorCode::Unauthorized | OciErrorCode::Denied)) =>
        {
            login
        }
        Failure::RegistryError { .. } | Failure::ImageManifestNotFoundError(_) => {
            "check the name and the tag".to_owned()
        }
        Failure::ServerError { code: 404, .. } => "check the name and the tag".to_owned(),
        Failure::DigestError(_) => {
            "what the registry gives is not what was asked for: push it again".to_owned()
        }
        _ => "check the network and the registry's address; a local path would have to exist".to_owned(),
    }
}

impl Registry {
    /// Connects, and fetches what the reference names: an index or a manifest.
    fn open(name: &str, options: &LoadOptions) -> Result<(Self, Vec<u8>), ImageError> {
        let fail = |problem: String| ImageError::Registry { reference: name.to_owned(), problem };
        let reference: Reference = name.parse().map_err(|e| {
            fail(format!(
                "{e}: not a registry reference (`[HOST/]NAME[:TAG]`), and no such file or directory"
            ))
        })?;
        let auth = credentials(reference.resolve_registry(), options).map_err(fail)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| fail(format!("no event loop: {e}")))?;
        let spool_dir = options.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
        let local = is_local(reference.resolve_registry());
        let client = client(ClientProtocol::Https).map_err(|e| fail(explain(&e)))?;
        let mut registry = Registry { runtime, client, reference, auth, spool_dir };
        if local {
            // As docker does: TLS if it answers to that, else plain HTTP, on this machine only.
            let first = registry.fetch_manifest(&registry.reference);
            match registry.runtime.block_on(first) {
                Ok(manifest) => return Ok((registry, manifest)),
                Err(Failure::RequestError(_)) => {
                    registry.client = client_http().map_err(|e| fail(explain(&e)))?;
                }
                Err(e) => return Err(fail(format!("{}: {}", explain(&e), advice(&e, name)))),
            }
        }
        let manifest = registry.retry(|| registry.fetch_manifest(&registry.reference)).map_err(fail)?;
        Ok((registry, manifest))
    }

    async fn fetch_manifest(&self, reference: &Reference) -> Result<Vec<u8>, Failure> {
        let (body, _) = self.client.pull_manifest_raw(reference, &self.auth, MANIFESTS).await?;
        Ok(body.to_vec())
    }

    /// Repeats a request while that may help; otherwise returns the problem in words.
    fn retry<T, F: Future<Output = Result<T, Failure>>>(&self, request: impl Fn() -> F) -> Result<T, String> {
        let mut attempt = 1;
        loop {
            match self.runtime.block_on(request()) {
                Ok(value) => return Ok(value),
                Err(e) if transient(&e) && attempt < ATTEMPTS => {
                    std::thread::sleep(PAUSE * 2u32.pow(attempt - 1));
                    attempt += 1;
                }
                Err(e) => {
                    let tried =
                        if attempt > 1 { format!(" (after {attempt} attempts)") } else { String::new() };
                    let advice = advice(&e, self.reference.resolve_registry());
                    return Err(format!("{}{tried}: {advice}", explain(&e)));
                }
            }
        }
    }

    /// Appends the rest of a blob to `file`, which holds its first `have` bytes.
    async fn download(
        &self,
        descriptor: &Descriptor,
        file: &mut File,
        have: &mut u64,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
        let digest = descriptor.digest.as_str();
        let mut stream =
            match self.client.pull_blob_stream_partial(&self.reference, digest, *have, None).await? {
                BlobResponse::Partial(stream) => stream.stream,
                BlobResponse::Full(stream) => {
                    // This registry does not send parts: start again.
                    *have = 0;
                    file.set_len(0)?;
                    file.rewind()?;
                    stream.stream
                }
            };
        while let Some(bytes) = stream.next().await {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                // The reader of the file verifies the digest. Here it only matters that all bytes came.
                Err(_) if *have >= descriptor.size => break,
                Err(e) => return Err(e.into()),
            };
            file.write_all(&bytes)?;
            *have += bytes.len() as u64;
            progress.advance(bytes.len() as u64);
            if *have > descriptor.size {
                break;
            }
        }
        if *have < descriptor.size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended early").into());
        }
        Ok(())
    }

    fn fetch_blob(&self, descriptor: &Descriptor, progress: &mut dyn Progress) -> Result<File, ImageError> {
        let spool = |source| ImageError::Spool { dir: self.spool_dir.clone(), source };
        let mut file = tempfile::tempfile_in(&self.spool_dir).map_err(spool)?;
        let mut have = 0;
        let mut attempt = 1;
        loop {
            let before = have;
            let outcome = self.runtime.block_on(self.download(descriptor, &mut file, &mut have, progress));
            let error = match outcome {
                Ok(()) => break,
                Err(Failure::IoError(e)) if e.kind() == io::ErrorKind::StorageFull => return Err(spool(e)),
                Err(e) => e,
            };
            // A connection that breaks but makes progress is retried without limit.
            attempt = if have > before { 1 } else { attempt + 1 };
            if !transient(&error) || attempt > ATTEMPTS {
                return Err(ImageError::Registry {
                    reference: self.reference.whole(),
                    problem: format!(
                        "blob {}, byte {have} of {}: {}: {}",
                        descriptor.digest,
                        descriptor.size,
                        explain(&error),
                        advice(&error, self.reference.resolve_registry())
                    ),
                });
            }
            file.seek(SeekFrom::Start(have)).map_err(spool)?;
            std::thread::sleep(PAUSE * 2u32.pow(attempt.saturating_sub(1)));
        }
        file.rewind().map_err(spool)?;
        Ok(file)
    }
}

fn config(protocol: ClientProtocol) -> ClientConfig {
    ClientConfig {
        protocol,
        platform_resolver: None,
        read_timeout: Some(SILENCE),
        connect_timeout: Some(CONNECT),
        user_agent: concat!("forelift/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    }
}

fn client(protocol: ClientProtocol) -> Result<Client, Failure> {
    // Only the first call in a process has an effect; a later one is refused, which does not matter.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::try_from(config(protocol))
}

fn client_http() -> Result<Client, Failure> {
    client(ClientProtocol::Http)
}

impl Store for Registry {
    fn blob(
        &mut self,
        descriptor: &Descriptor,
        manifest: bool,
        _: &str,
        progress: &mut dyn Progress,
    ) -> Result<Box<dyn Read + '_>, ImageError> {
        if manifest {
            let reference = self.reference.clone_with_digest(descriptor.digest.clone());
            let body = self
                .retry(|| self.fetch_manifest(&reference))
                .map_err(|problem| ImageError::Registry { reference: reference.whole(), problem })?;
            return Ok(Box::new(io::Cursor::new(body)));
        }
        progress.stage("download", Some(descriptor.size));
        Ok(Box::new(self.fetch_blob(descriptor, progress)?))
    }

    /// Unknown without a request, and one for each platform of an index would be too many.
    fn has(&self, _: &Descriptor, _: bool) -> Option<bool> {
        None
    }

    fn file(&mut self, _: &str) -> Result<Option<Box<dyn Read + '_>>, ImageError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_this_machine_is_local() {
        for yes in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000"] {
            assert!(is_local(yes), "{yes}");
        }
        for no in
            ["index.docker.io", "10.0.0.1:5000", "localhost.example.org", "[2001:db8::1]:5000", "128.0.0.1"]
        {
            assert!(!is_local(no), "{no}");
        }
    }
}
