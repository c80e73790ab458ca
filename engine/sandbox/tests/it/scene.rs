//! The host around a hostile command: things it must not reach, and what became of them.
//! Verdicts come from here, not from what the command says about itself.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr, UnixListener},
        },
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use blueprint_sandbox::Exec;
use tempfile::TempDir;

/// What the host keeps from commands.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) outside: TempDir,
    pub(crate) secret: String,
    pub(crate) victim: Child,
    tcp_any: TcpListener,
    tcp_local: TcpListener,
    udp: UdpSocket,
    abstract_name: String,
    abstract_socket: UnixListener,
    path_socket: UnixListener,
}

impl Scene {
    pub(crate) fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let outside = tempfile::Builder::new().prefix("outside-").tempdir().unwrap();
        let secret = format!("canary-{}-{number}", std::process::id());
        fs::write(outside.path().join("secret"), &secret).unwrap();
        fs::write(format!("/dev/shm/{secret}"), &secret).unwrap();
        fs::create_dir(outside.path().join("shown")).unwrap();
        fs::write(outside.path().join("shown/file"), "whole").unwrap();
        // Nothing but the mount shall stand in the way of writing.
        for name in ["shown", "shown/file"] {
            fs::set_permissions(outside.path().join(name), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let abstract_name = format!("blueprint-{secret}");
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let scene = Self {
            secret,
            victim: Command::new("sleep")
                .arg("600")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
            tcp_any: TcpListener::bind("0.0.0.0:0").unwrap(),
            tcp_local: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp: UdpSocket::bind("0.0.0.0:0").unwrap(),
            abstract_socket: UnixListener::bind_addr(&address).unwrap(),
            path_socket: UnixListener::bind(outside.path().join("docker.sock")).unwrap(),
            abstract_name,
            outside,
        };
        // Only its place shall stand in the way of calling it.
        fs::set_permissions(scene.path("docker.sock"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(scene.outside.path(), fs::Permissions::from_mode(0o755)).unwrap();
        scene.tcp_any.set_nonblocking(true).unwrap();
        scene.tcp_local.set_nonblocking(true).unwrap();
        scene.udp.set_nonblocking(true).unwrap();
        scene.abstract_socket.set_nonblocking(true).unwrap();
        scene.path_socket.set_nonblocking(true).unwrap();
        scene
    }

    /// Tells a command where everything is. A secret kept only by nobody knowing its place is none.
    pub(crate) fn reveal(&self, exec: &mut Exec) {
        let mut set = |name: &str, value: String| drop(exec.env.insert(name.to_owned(), value));
        let addresses = Command::new("hostname").arg("-I").output().unwrap().stdout;
        set("SHARED", self.secret.clone());
        set("SECRET", self.path("secret").display().to_string());
        set("OUTSIDE", self.outside.path().display().to_string());
        set("VICTIM", self.victim.id().to_string());
        set("ENGINE", std::process::id().to_string());
        set("TCP_ANY", self.tcp_any.local_addr().unwrap().port().to_string());
        set("TCP_LOCAL", self.tcp_local.local_addr().unwrap().port().to_string());
        set("UDP", self.udp.local_addr().unwrap().port().to_string());
        set("ABSTRACT", self.abstract_name.clone());
        set("ADDRESSES", format!("127.0.0.1 {}", String::from_utf8(addresses).unwrap().trim()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    /// Whether any socket of the host heard from a command.
    pub(crate) fn was_called(&self) -> bool {
        self.tcp_any.accept().is_ok()
            || self.tcp_local.accept().is_ok()
            || self.udp.recv(&mut [0; 64]).is_ok()
            || self.abstract_socket.accept().is_ok()
            || self.path_socket.accept().is_ok()
    }

    pub(crate) fn victim_died(&mut self) -> bool {
        self.victim.try_wait().unwrap().is_some()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(fs::remove_file(format!("/dev/shm/{}", self.secret)));
        drop(self.victim.kill());
        drop(self.victim.wait());
    }
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// How many control groups of this host, below this process's own, have a name that begins like this.
pub(crate) fn control_groups(prefix: &str) -> usize {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    own.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            Some((parts.next()?.split(',').next()?.to_owned(), parts.next()?.to_owned()))
        })
        .filter_map(|(controller, path)| fs::read_dir(format!("/sys/fs/cgroup/{controller}{path}")).ok())
        .flat_map(Iterator::flatten)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .count()
}
