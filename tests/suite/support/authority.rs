//! A certificate authority of the tests' own, by the `openssl` program.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::node::{Folder, unique};
use super::postgres;

/// Extensions by what a certificate is for; given as a file, since the system's own defaults differ.
const EXTENSIONS: &str = "\
[req]
distinguished_name = nobody
[nobody]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost
";

pub struct Authority {
    folder: Folder,
}

/// A server's certificate and key, of [`Authority::server`].
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Authority {
        let folder = Folder::new("authority");
        std::fs::write(folder.path().join("extensions"), EXTENSIONS).expect("a file");
        let authority = Authority { folder };
        // Of its own name: two authorities of one name would be taken for one that signs wrongly.
        let subject = format!("/CN={}", unique("authority"));
        let make = ["req", "-x509", "-extensions", "authority", "-out", "ca.pem", "-subj", &subject];
        authority.openssl(&[&make, NEW_KEY, &["ca.key"]]);
        authority
    }

    /// The certificate to trust.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for `localhost`, and for no address. Postgres may read the key.
    pub fn server(&self) -> Certificate {
        self.openssl(&[&["req", "-new", "-out", "server.csr", "-subj", "/CN=server"], NEW_KEY, &["server.key"]]);
        let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
        let extensions = ["-days", "2", "-extfile", "extensions", "-extensions", "server", "-out", "server.pem"];
        self.openssl(&[&sign, &extensions]);
        let file = |name: &str| self.folder.path().join(name);
        postgres::own(&file("server.key"));
        Certificate { certificate: file("server.pem"), key: file("server.key") }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn openssl(&self, arguments: &[&[&str]]) {
        let output = Command::new("openssl").args(arguments.concat()).current_dir(self.folder.path()).output();
        let output = output.expect("openssl runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The file of the key follows.
const NEW_KEY: &[&str] = &[
    "-config",
    "extensions",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "2",
    "-keyout",
];
