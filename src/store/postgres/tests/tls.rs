//! Encrypted connections to a server with a certificate of a private issuer for `localhost`.

use std::{fs, path::Path, process::Command};

use super::*;

fn openssl(folder: &Path, arguments: &str) {
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A server with TLS, and the file of its issuer.
fn encrypted() -> (server::Postgres, String) {
    let server = server::Postgres::start();
    let folder = server.data_folder();
    openssl(&folder, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=issuer");
    openssl(&folder, "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost");
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost").unwrap();
    openssl(
        &folder,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names",
    );
    server::Postgres::give(&folder.join("server.key"));
    server.sql("postgres", "ALTER SYSTEM SET ssl = on");
    server.stop("INT");
    server.resume();
    (server, folder.join("ca.pem").display().to_string())
}

#[tokio::test]
async fn a_connection_is_checked_as_much_as_the_address_asks_for() {
    let (server, issuer) = encrypted();
    let url = server.url("postgres");
    let examine = async |host: &str, query: &str| {
        let url = url.replace("127.0.0.1", host);
        Postgres::examine(&address(&format!("{url}?{query}"))).await.map(drop).map_err(|error| {
            assert!(matches!(error, OpenError::Store(StoreError::Unavailable(_))), "{error:?}");
            format!("{:#}", anyhow::Error::from(error))
        })
    };
    for query in ["", "sslmode=disable", "sslmode=prefer", "sslmode=require"] {
        examine("127.0.0.1", query).await.unwrap();
    }
    let known = |mode: &str| format!("sslmode={mode}&sslrootcert={issuer}");
    examine("127.0.0.1", &known("verify-ca")).await.unwrap();
    examine("127.0.0.1", &known("require")).await.unwrap();
    examine("localhost", &known("verify-full")).await.unwrap();
    let other_name = examine("127.0.0.1", &known("verify-full")).await.unwrap_err();
    assert!(other_name.contains("not valid for name"), "{other_name}");
    for mode in ["verify-ca", "verify-full"] {
        let stranger = examine("localhost", &format!("sslmode={mode}")).await.unwrap_err();
        assert!(stranger.contains("UnknownIssuer"), "{stranger}");
    }

    // Whatever the server offers, what is required is done.
    server.sql("postgres", "ALTER SYSTEM SET ssl = off");
    server.stop("INT");
    server.resume();
    examine("127.0.0.1", "").await.unwrap();
    examine("127.0.0.1", "sslmode=require").await.unwrap_err();
}
