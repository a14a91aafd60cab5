//! A private nginx on a free port before several nodes: a load balancer that learns of a node's end only by being
//! refused, as an nginx without active health checks does.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use super::guardian::Guardian;
use super::node::free_port;

/// Ends with the test process.
pub struct Nginx {
    port: u16,
    guardian: Guardian,
}

impl Nginx {
    /// `nodes` are `http://host:port`.
    pub fn start(nodes: &[String]) -> Nginx {
        Self::start_with(nodes, "")
    }

    /// One that lets no WebSocket through, as some firms' proxies do.
    pub fn without_sockets(nodes: &[String]) -> Nginx {
        Self::start_with(nodes, "if ($http_upgrade) { return 403; }")
    }

    fn start_with(nodes: &[String], more: &str) -> Nginx {
        let mut log = String::new();
        // Between finding a free port and using it somebody else may take it: then another.
        for _ in 0..5 {
            let folder = std::env::temp_dir().join(format!("salon-nginx-{:016x}", rand::random::<u64>()));
            std::fs::create_dir_all(&folder).expect("a folder");
            let port = free_port();
            let file = folder.join("nginx.conf");
            std::fs::write(&file, configuration(&folder.display().to_string(), port, nodes, more))
                .expect("its configuration");
            let mut command = Command::new("nginx");
            command.arg("-p").arg(&folder).arg("-e").arg("stderr").arg("-c").arg(&file);
            let guardian = Guardian::spawn(&command, &folder, "TERM");
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline && !guardian.log().contains("emerg") {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Nginx { port, guardian };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            log = guardian.log();
        }
        panic!("nginx did not start:\n{log}");
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it complained of, for a failing test.
    pub fn log(&self) -> String {
        self.guardian.log()
    }
}

/// `max_fails=0`: to nginx a node that has failed once is well again when a request to it has *ended*, which a WebSocket
/// does not; until then it gets one connection per `fail_timeout`, and soon all nodes are taken for dead. Who refuses is
/// passed over at once, so nothing is lost by asking.
fn configuration(folder: &str, port: u16, nodes: &[String], more: &str) -> String {
    let servers: String =
        nodes.iter().map(|node| format!("server {} max_fails=0;\n", node.trim_start_matches("http://"))).collect();
    format!(
        r#"
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    upstream salon {{
        {servers}
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            {more}
            proxy_pass http://salon;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_next_upstream error timeout http_503;
            proxy_connect_timeout 2s;
            proxy_read_timeout 90s;
        }}
    }}
}}
"#
    )
}
