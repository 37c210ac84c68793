//! TLS with libpq's meanings: whom a session trusts and what it shows of itself. What is made of
//! certificate files is kept for a minute and shared among sessions: OpenSSL reads the system's whole
//! list of authorities for each context, which costs twenty times what a session costs.

use super::error::ConnectError;
use super::url::{Host, Place, Root, Tls, TlsMode};
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use postgres_openssl::TlsConnector;
use std::cell::RefCell;
use std::time::Duration;
use tokio::time::Instant;

/// Certificates that were replaced on disk count after this.
const FRESH: Duration = Duration::from_secs(60);

thread_local! {
    /// Of the engine's one thread; as many entries as there are ways in which its URLs want TLS.
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

struct Kept {
    tls: Tls,
    made: Instant,
    context: SslConnector,
}

/// What a session to `place` needs to speak TLS as `tls` wants it.
pub(super) fn connector(tls: &Tls, place: &Place) -> Result<TlsConnector, ConnectError> {
    let mut config = context(tls)?.configure().map_err(broken("openssl"))?;
    config.set_verify_hostname(tls.mode == TlsMode::VerifyFull);
    config.set_use_server_name_indication(tls.server_name);
    let name = match &place.host {
        Host::Tcp { name, .. } => name.as_str(),
        Host::Socket(_) => "localhost",
    };
    Ok(TlsConnector::new(config, name))
}

fn context(tls: &Tls) -> Result<SslConnector, ConnectError> {
    let known = KEPT.with_borrow_mut(|kept| {
        kept.retain(|one| one.made.elapsed() < FRESH);
        kept.iter().find(|one| one.tls == *tls).map(|one| one.context.clone())
    });
    if let Some(context) = known {
        return Ok(context);
    }
    let context = make(tls)?;
    KEPT.with_borrow_mut(|kept| kept.push(Kept { tls: tls.clone(), made: Instant::now(), context: context.clone() }));
    Ok(context)
}

fn make(tls: &Tls) -> Result<SslConnector, ConnectError> {
    let plain = broken("openssl");
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(&plain)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(&plain)?;
    let verifies = matches!(tls.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
    builder.set_verify(if verifies { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
    if !(verifies && tls.root == Root::System) {
        // what the system trusts is not asked for, and takes megabytes
        builder.set_cert_store(X509StoreBuilder::new().map_err(&plain)?.build());
    }
    match &tls.root {
        Root::File(path) if verifies => builder.set_ca_file(path).map_err(broken(&format!(
            "root certificate {} cannot be read (give sslrootcert, or sslmode=require to trust whoever answers)",
            path.display()
        )))?,
        Root::Nowhere if verifies => {
            return Err(ConnectError::Files("no root certificate: give sslrootcert".to_owned()));
        }
        _ => {}
    }
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key)
        && (tls.certificate_wanted || certificate.exists())
    {
        let what = format!("client certificate {}, key {}", certificate.display(), key.display());
        builder.set_certificate_chain_file(certificate).map_err(broken(&what))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(broken(&what))?;
        builder.check_private_key().map_err(broken(&what))?;
    }
    Ok(builder.build())
}

fn broken(what: &str) -> impl Fn(ErrorStack) -> ConnectError {
    let what = what.to_owned();
    move |error| ConnectError::Files(format!("{what}: {error}"))
}
