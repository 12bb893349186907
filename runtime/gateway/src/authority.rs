//! Certificates for the names that a guest connects to. The root that signs them is made with its key for
//! this gateway alone, and both go with it: nobody outside of the page's memory can make use of them.

use futures_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use std::{collections::HashMap, sync::Arc};

/// Most names whose certificates are kept.
const MOST: usize = 1024;
/// Common names; nobody reads that of a server.
const ROOT: &str = "Forelift page";
const SERVER: &str = "Forelift page, server";

/// A certificate cannot be made, for a name that is none, for example.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    /// What TLS says of it.
    #[error(transparent)]
    Tls(#[from] futures_rustls::rustls::Error),
}

/// A root, and what it has signed.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: String,
    /// One for all names.
    key: KeyPair,
    made: HashMap<String, Arc<ServerConfig>>,
    serial: u64,
}

fn params(name: &str, names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    // The guest's clock may be anything.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    Ok(params)
}

impl Authority {
    /// A new root.
    ///
    /// # Errors
    /// When there is no entropy.
    pub fn new() -> Result<Self, Failure> {
        let mut params = params(ROOT, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let root = params.self_signed(&key)?.pem();
        Ok(Authority {
            issuer: Issuer::new(params, key),
            root,
            key: KeyPair::generate()?,
            made: HashMap::new(),
            serial: 1,
        })
    }

    /// The root's certificate in PEM, which the guest has to trust.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What a server of that name does TLS with. An address may be in brackets.
    ///
    /// # Errors
    /// When it is no name.
    pub fn server(&mut self, host: &str) -> Result<Arc<ServerConfig>, Failure> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if let Some(known) = self.made.get(&host) {
            return Ok(known.clone());
        }
        let mut params = params(SERVER, vec![host.clone()])?;
        self.serial += 1;
        params.serial_number = Some(SerialNumber::from(self.serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&self.key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if self.made.len() >= MOST {
            self.made.clear();
        }
        let config = Arc::new(config);
        self.made.insert(host, config.clone());
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_have_certificates() {
        let mut authority = Authority::new().unwrap();
        assert!(authority.root().starts_with("-----BEGIN CERTIFICATE-----"));
        for host in ["example.org", "10.1.2.3", "[2001:db8::1]", &format!("{}.test", "long.".repeat(30))] {
            let config = authority.server(host).unwrap();
            assert!(Arc::ptr_eq(&config, &authority.server(&host.to_uppercase()).unwrap()), "{host}");
        }
        assert!(authority.server("nöt-ascii").is_err());
        assert_ne!(authority.root(), Authority::new().unwrap().root());
    }
}
