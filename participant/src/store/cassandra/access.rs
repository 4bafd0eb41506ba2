//! Who may come in and what they may do: the nodes' certificates, and the role's permissions.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::failure::is_denied;
use super::statements::ClusterTable;
use super::{Cluster, OpenError};

/// TLS with nodes whose certificates are signed by an authority of this file, and name the address at which
/// the node is reached.
pub(super) fn tls(authority: &Path) -> Result<Arc<ClientConfig>, OpenError> {
    let unusable = |why: String| {
        let path = authority.display().to_string();
        OpenError::Authority { path, why }
    };
    let certificates = CertificateDer::pem_file_iter(authority)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Whether the role may read and write every table. Asked with statements that can do nothing: they name no
/// row, which a node finds out only after it has asked whether the role may run them.
pub(super) async fn check_permissions(
    cluster: &Cluster,
    tables: &[Arc<ClusterTable>],
) -> Result<(), OpenError> {
    for table in tables {
        for (action, text) in table.probes() {
            match cluster.session().query_unpaged(text, ()).await {
                Err(error) if is_denied(&error) => {
                    return Err(OpenError::of(format!("{action} {}", table.name), &error));
                }
                // That there is no such row, or whatever else: what matters of it is met, and told, later.
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(())
}
