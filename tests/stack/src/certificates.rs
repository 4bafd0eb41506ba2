//! Certificates for servers that speak TLS.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// The password of every key store that [`certificates`] makes.
pub const KEY_STORE_PASSWORD: &str = "handfast";

/// Makes, in a folder, an authority `ca.pem`, another one `other.pem`, and a server's certificate for an address, by
/// the first of them, in the key store `node.p12`, with the JDK's own tool.
pub fn certificates(folder: &Path, address: IpAddr) -> anyhow::Result<()> {
    let pass = ["-storepass", KEY_STORE_PASSWORD, "-storetype", "PKCS12"];
    let key = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30"];
    let tool = |args: &[&str], more: &[&str]| keytool(folder, &[args, &pass, more].concat());
    for name in ["ca", "other"] {
        let (store, dname) = (format!("{name}.p12"), format!("CN={name}"));
        let args = ["-genkeypair", "-alias", name, "-keystore", &store, "-dname", &dname];
        tool(&[&args[..], &["-ext", "bc:c"]].concat(), &key)?;
        let file = format!("{name}.pem");
        tool(&["-exportcert", "-rfc", "-alias", name, "-keystore", &store, "-file", &file], &[])?;
    }
    let node = ["-alias", "node", "-keystore", "node.p12"];
    tool(&[&["-genkeypair", "-dname", "CN=node"][..], &node].concat(), &key)?;
    tool(&[&["-certreq", "-file", "node.csr"][..], &node].concat(), &[])?;
    let san = format!("san=ip:{address}");
    let sign = ["-gencert", "-rfc", "-alias", "ca", "-keystore", "ca.p12", "-infile", "node.csr"];
    tool(&[&sign[..], &["-outfile", "node.pem", "-validity", "30", "-ext", &san]].concat(), &[])?;
    let import = ["-importcert", "-noprompt", "-keystore", "node.p12"];
    tool(&[&import[..], &["-alias", "ca", "-file", "ca.pem"]].concat(), &[])?;
    tool(&[&import[..], &["-alias", "node", "-file", "node.pem"]].concat(), &[])
}

fn keytool(folder: &Path, args: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("keytool").args(args).current_dir(folder).output();
    let done = done.context("cannot run keytool, which is part of a JDK")?;
    let said = String::from_utf8_lossy(&done.stdout);
    ensure!(done.status.success(), "keytool {args:?}: {said}");
    Ok(())
}
