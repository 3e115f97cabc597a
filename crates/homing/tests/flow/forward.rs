//! Unmodified programs through `forward`, `connect` and `listen`: half-close, many connections, datagrams,
//! and sessions that outlive daemons that are killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::postgres_cluster;
use crate::support::{self, Home, PATIENCE, Running, agent, befriend, listening, relay};

/// Two agents that trust each other. The relay comes last: it must live longest.
fn pair() -> (Home, Home, Home, String) {
    let (relay, url) = relay();
    let (a, b) = (agent("agent-a", &url), agent("agent-b", &url));
    befriend(&a, &b, "agent-b");
    (a, b, relay, url)
}

fn again(home: &mut Home, name: &str, url: &str) {
    home.kill();
    home.start(&["--hostname", name, "--listen", "127.0.0.1:0", "--relay", url]);
}

/// `homing forward`, and where it listens.
fn forward(home: &Home, args: &[&str]) -> (Running, String) {
    let mut command = home.command(&[&["forward"], args, &["-o", "name"]].concat());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Running(child), line.trim().to_owned())
}

/// A server that reads to the end of the request and answers with its SHA-256.
fn digest_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                // A reset is not the end of a request: no answer.
                if stream.read_to_end(&mut request).is_ok() {
                    let _ = stream.write_all(digest(&request).as_bytes());
                }
            });
        }
    });
    place
}

fn digest(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Bytes that no two places of share.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(step).collect()
}

fn ask(mut stream: TcpStream, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + 4 * PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_local_port_and_a_unix_socket_are_the_peers_service() {
    let (a, b, _relay, _) = pair();
    let _listener = listening(&b, &["digest", "--to", &digest_server()]);
    let (_forward, place) = forward(&a, &["0", "agent-b:digest"]);
    // The request ends long before the answer: half-close, both small and large.
    for count in [0, 1, 3_000_000] {
        let request = noise(count);
        assert_eq!(ask(TcpStream::connect(&place).unwrap(), &request), digest(&request));
    }
    let socket = a.path("digest.sock");
    let place = format!("unix:{}", socket.display());
    let (mut on_socket, said) = forward(&a, &[&place, "agent-b:digest"]);
    assert_eq!(said, place);
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, digest(b"hello"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // Killed, it leaves the socket; the next one takes its place.
    on_socket.0.kill().unwrap();
    on_socket.0.wait().unwrap();
    let (_again, said) = forward(&a, &[&place, "agent-b:digest"]);
    assert_eq!(said, place);
    // Nothing serves there: the client sees a failure, not an empty answer.
    let _closed = listening(&b, &["closed", "--to", "127.0.0.1:1"]);
    let (_forward, place) = forward(&a, &["0", "agent-b:closed"]);
    let mut stream = TcpStream::connect(place).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "a reset");
}

#[test]
fn two_hundred_connections_at_once() {
    let (a, b, _relay, _) = pair();
    let _listener = listening(&b, &["digest", "--to", &digest_server()]);
    let (_forward, place) = forward(&a, &["0", "agent-b:digest", "--timeout", "60s"]);
    // All are open before the first one says anything.
    let streams: Vec<_> = (0..200).map(|_| TcpStream::connect(&place).unwrap()).collect();
    let asking = streams.into_iter().enumerate().map(|(n, stream)| {
        thread::spawn(move || {
            let request = noise(1_000 + n);
            assert_eq!(ask(stream, &request), digest(&request));
        })
    });
    asking.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn datagrams_find_their_way_and_back() {
    let (a, b, _relay, _) = pair();
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = format!("udp:{}", echo.local_addr().unwrap());
    thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        while let Ok((count, from)) = echo.recv_from(&mut buffer) {
            let _ = echo.send_to(&buffer[..count], from);
        }
    });
    let _listener = listening(&b, &["dns", "--to", &target]);
    let (_forward, place) = forward(&a, &["udp:0", "agent-b:dns"]);
    let place = place.strip_prefix("udp:").unwrap();
    for _client in 0..2 {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(place).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for count in [1, 0, 1_200, 9_000, 40_000] {
            let packet = noise(count);
            client.send(&packet).unwrap();
            let mut buffer = vec![0; 65_535];
            let got = client.recv(&mut buffer).unwrap();
            assert!(buffer[..got] == packet, "{count} bytes came back as {got}");
        }
    }
    let bare = a.failure(&["connect", "agent-b", "dns"]);
    assert_eq!(bare["message"], "the other side takes only datagrams");
    // A service that takes no datagrams is not fed any.
    let _bytes = listening(&b, &["bytes", "--exec", "cat"]);
    let resumed = a.failure(&["connect", "agent-b", "bytes", "--resume"]);
    assert_eq!((&resumed["code"], &resumed["exit"]), (&"usage".into(), &2.into()));
    assert_eq!(resumed["message"], "the other side does not resume");
}

#[test]
fn a_resumed_forward_loses_no_byte_over_three_kills() {
    let (mut a, mut b, _relay, url) = pair();
    let _listener = listening(&b, &["digest", "--resume", "--to", &digest_server()]);
    let (_forward, place) = forward(&a, &["0", "agent-b:digest", "--resume"]);
    let (request, written) = (noise(8_000_000), Arc::new(AtomicUsize::new(0)));
    let stream = TcpStream::connect(place).unwrap();
    let (mut writer, bytes, count) =
        (stream.try_clone().unwrap(), request.clone(), written.clone());
    let writing = thread::spawn(move || {
        for piece in bytes.chunks(20_000) {
            writer.write_all(piece).unwrap();
            count.fetch_add(piece.len(), Ordering::SeqCst);
            thread::sleep(Duration::from_millis(2));
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let reached = |count: usize| until("progress", || written.load(Ordering::SeqCst) >= count);
    reached(1_500_000);
    again(&mut b, "agent-b", &url);
    reached(3_500_000);
    again(&mut a, "agent-a", &url);
    reached(5_500_000);
    again(&mut b, "agent-b", &url);
    writing.join().unwrap();
    let mut answer = String::new();
    let mut reader = stream;
    reader.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, digest(&request));
}

#[test]
fn a_resumed_connect_carries_a_process_over_kills_of_both_daemons() {
    let (mut a, mut b, _relay, url) = pair();
    let whole = noise(4_000_000);
    std::fs::write(b.path("whole"), &whole).unwrap();
    let slowly = format!(
        "i=0; while [ $i -lt 40 ]; do tail -c +$((i*100000+1)) {} | head -c 100000; sleep 0.05; i=$((i+1)); done",
        b.path("whole").display()
    );
    let _listener = listening(&b, &["whole", "--resume", "--exec", &slowly]);
    let got = a.path("got");
    let mut command = a.command(&["connect", "agent-b", "whole", "--resume"]);
    let file = std::fs::File::create(&got).unwrap();
    let mut connect = command.stdout(file).stderr(Stdio::inherit()).spawn().unwrap();
    let has = |count: u64| until("progress", || got.metadata().unwrap().len() >= count);
    has(500_000);
    again(&mut a, "agent-a", &url);
    has(1_500_000);
    again(&mut b, "agent-b", &url);
    has(2_500_000);
    again(&mut a, "agent-a", &url);
    assert_eq!(connect.wait().unwrap().code(), Some(0));
    assert_eq!(digest(&std::fs::read(&got).unwrap()), digest(&whole));
}

#[test]
fn trust_is_asked_for_every_stream_of_a_session() {
    let (a, b, _relay, _) = pair();
    let _listener = listening(&b, &["echo", "--resume", "--exec", "cat"]);
    // Nothing is sent to it as bare bytes, nor printed of it: `failure` wants an empty stdout.
    let bare = a.failure(&["connect", "agent-b", "echo"]);
    assert_eq!((&bare["code"], &bare["exit"]), (&"usage".into(), &2.into()));
    assert_eq!(bare["message"], "the other side takes only sessions");
    let mut command = a.command(&["connect", "agent-b", "echo", "--resume", "--json"]);
    let mut child = support::converse_with(&mut command);
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    b.json(&["trust", "revoke", "agent-a", "--yes"]);
    let _stdin = child.stdin.take();
    let done = support::finished(child.wait_with_output().unwrap());
    assert_eq!((done.code, &done.error()["code"]), (5, &"peer_not_trusted".into()));
    let refused = a.failure(&["connect", "agent-b", "echo", "--resume"]);
    assert_eq!(refused["code"], "peer_not_trusted");
}

#[test]
fn retry_waits_for_a_peer_that_is_away() {
    let (a, mut b, _relay, url) = pair();
    b.kill();
    until("the death is noticed", || {
        a.failure(&["connect", "agent-b", "echo"])["code"] == "peer_offline"
    });
    let args = ["connect", "agent-b", "echo", "--retry", "--timeout", "60s"];
    let mut child = support::converse_with(&mut a.command(&args));
    child.stdin.take().unwrap().write_all(b"still there").unwrap();
    again(&mut b, "agent-b", &url);
    let _listener = listening(&b, &["echo", "--exec", "cat"]);
    let done = support::finished(child.wait_with_output().unwrap());
    assert_eq!((done.code, done.stdout.as_str()), (0, "still there"), "{done:?}");
}

#[test]
fn a_forward_outlives_its_daemon() {
    let (mut a, b, _relay, url) = pair();
    let _listener = listening(&b, &["digest", "--to", &digest_server()]);
    let (_forward, place) = forward(&a, &["0", "agent-b:digest", "--timeout", "60s"]);
    a.kill();
    // Accepted without a daemon, served when it is back.
    let waiting = TcpStream::connect(&place).unwrap();
    a.start(&["--hostname", "agent-a", "--listen", "127.0.0.1:0", "--relay", &url]);
    assert_eq!(ask(waiting, b"hello"), digest(b"hello"));
}

#[test]
fn whatever_dies_no_program_takes_it_for_an_end() {
    let (mut a, mut b, _relay, url) = pair();
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = service.local_addr().unwrap().to_string();
    let open = |place: &str| {
        let mut near = TcpStream::connect(place).unwrap();
        near.write_all(b"first part").unwrap();
        let mut far = service.accept().unwrap().0;
        far.read_exact(&mut [0; 10]).unwrap();
        far.write_all(b"first part").unwrap();
        near.read_exact(&mut [0; 10]).unwrap();
        (near, far)
    };
    let (listener, (forwarding, place)) =
        (listening(&b, &["raw", "--to", &to]), forward(&a, &["0", "agent-b:raw"]));
    let (near, far) = open(&place);
    drop(forwarding);
    // Nobody is left to reset what the program holds, except the daemon.
    [near, far].into_iter().for_each(breaks);
    let (_forwarding, place) = forward(&a, &["0", "agent-b:raw"]);
    let (near, far) = open(&place);
    drop(listener);
    [near, far].into_iter().for_each(breaks);
    let _listener = listening(&b, &["raw", "--to", &to]);
    let (near, _far) = open(&place);
    a.kill();
    breaks(near);
    a.start(&["--hostname", "agent-a", "--listen", "127.0.0.1:0", "--relay", &url]);
    let exposed = b.run(&["expose", &to, "--tcp", "--name", "exposed"]);
    assert_eq!(exposed.code, 0, "{exposed:?}");
    let (_forwarding, to_exposed) = forward(&a, &["0", "agent-b:exposed"]);
    let streams = [&place, &to_exposed].map(|place| open(place));
    b.kill();
    streams.into_iter().for_each(|(_near, far)| breaks(far));
}

#[test]
fn a_process_that_is_killed_has_not_said_everything() {
    let (a, b, _relay, _) = pair();
    // A reset overtakes what has not been read.
    let script = "echo part; sleep 1; kill -9 $$";
    let _listening = listening(&b, &["listened", "--exec", script]);
    let exposed = b.run(&["expose", "--name", "exposed", "--", "sh", "-c", script]);
    assert_eq!(exposed.code, 0, "{exposed:?}");
    for service in ["listened", "exposed"] {
        let done = a.run(&["connect", "agent-b", service]);
        assert_eq!((done.code, done.stdout.as_str()), (7, "part\n"), "{service}: {done:?}");
    }
}

/// The next thing to come is a reset.
fn breaks(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let ended = stream.read(&mut [0]);
    let is_reset = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(ended.as_ref().is_err_and(is_reset), "{ended:?}");
}

#[test]
fn mistakes_are_told_before_anything_happens() {
    let home = Home::new();
    for args in [
        &["forward", "nonsense", "agent-b:80"][..],
        &["forward", "8080", "agent-b"],
        &["forward", "8080", "fd3a::1:80"],
        &["listen", "x", "--to", "1", "--exec", "cat"],
        &["listen", "x", "--to", "udp:1", "--resume"],
        &["forward", "udp:0", "agent-b:dns", "--resume"],
        &["connect", "agent-b", "x", "--retry", "--resume"],
    ] {
        assert_eq!(home.failure(args)["exit"], 2, "{args:?}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert_eq!(home.failure(&["forward", &port, "agent-b:80"])["code"], "port_in_use");
}

/// OpenSSH, unmodified at both ends: `sshd -i` behind `listen --exec`, `ssh` through `ProxyCommand`.
#[test]
fn ssh_through_a_proxy_command() {
    let (sshd, keygen) = ("/usr/sbin/sshd", "/usr/bin/ssh-keygen");
    if ![sshd, keygen, "/usr/bin/ssh"].iter().all(|p| std::path::Path::new(p).is_file()) {
        let line = b"SKIPPED: ssh_through_a_proxy_command: openssh-server is not installed\n";
        // Not captured, so that it is counted.
        return std::io::stdout().write_all(line).unwrap();
    }
    let (a, b, _relay, _) = pair();
    for (home, key) in [(&a, "user"), (&b, "host")] {
        let made = std::process::Command::new(keygen)
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(home.path(key))
            .status();
        assert!(made.unwrap().success());
    }
    std::fs::copy(a.path("user.pub"), b.path("authorized")).unwrap();
    let config = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n",
        b.path("host").display(),
        b.path("authorized").display()
    );
    std::fs::write(b.path("sshd_config"), config).unwrap();
    // Where sshd runs as root it wants this place.
    let _ = std::fs::create_dir("/run/sshd");
    let exec = format!("{sshd} -i -e -f {}", b.path("sshd_config").display());
    let _listener = listening(&b, &["ssh", "--exec", &exec]);
    let user = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    let proxy = format!(
        "ProxyCommand={} --home {} connect agent-b ssh",
        env!("CARGO_BIN_EXE_homing"),
        a.dir().display()
    );
    let done = std::process::Command::new("/usr/bin/ssh")
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"])
        .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", &proxy, "-i"])
        .arg(a.path("user"))
        .args(["-l", user.trim(), "agent-b", "echo through; cat"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let done = support::finished(done);
    assert_eq!((done.code, done.stdout.as_str()), (0, "through\n"), "{done:?}");
}

/// A query whose answer is 3 MB, and one that sends 2 MB and asks what came.
const SQL: &str = "COPY (SELECT n, md5(n::text) FROM generate_series(1, 80000) n) TO STDOUT;
CREATE TEMP TABLE got (line text);
\\copy got FROM PSTDIN
SELECT count(*), md5(string_agg(line, ',')) FROM got;
";

/// psql, at a port of this machine or at a socket in a folder.
fn psql(program: &std::path::Path, place: &[&str], rows: &std::path::Path) -> String {
    let sql = SQL.replace("PSTDIN", &format!("'{}'", rows.display()));
    let mut command = std::process::Command::new(program);
    command.args(["-X", "-q", "-t", "-A", "-U", "postgres", "-v", "ON_ERROR_STOP=1"]).args(place);
    let mut child = support::converse_with(command.env("PGSSLMODE", "prefer"));
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let done = support::finished(child.wait_with_output().unwrap());
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{place:?}");
    done.stdout
}

/// PostgreSQL behind its Unix socket; its client at a port, and at a socket of its own.
#[test]
fn psql_through_forward() {
    let cluster = || {
        Ok::<_, String>((
            postgres_cluster::psql().ok_or("no psql")?,
            postgres_cluster::start_cluster(false)?,
        ))
    };
    let (program, folder) = match cluster() {
        Ok(found) => found,
        Err(reason) => {
            let line = format!("SKIPPED: psql_through_forward: {reason}\n");
            // Not captured, so that it is counted.
            return std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    };
    let (a, b, _relay, _) = pair();
    let rows = b.path("rows");
    std::fs::write(&rows, format!("{}\n", digest(b"row")).repeat(30_000)).unwrap();
    let here = psql(&program, &["-h", folder.to_str().unwrap()], &rows);
    assert!(here.len() > 2_000_000 && here.contains("30000|"), "{} bytes", here.len());

    let target = format!("unix:{}/.s.PGSQL.5432", folder.display());
    let _listener = listening(&b, &["postgres", "--to", &target]);
    let (_port, place) = forward(&a, &["0", "agent-b:postgres"]);
    let (host, port) = place.rsplit_once(':').unwrap();
    assert_eq!(psql(&program, &["-h", host, "-p", port], &rows), here);
    let (_socket, _) =
        forward(&a, &[&format!("unix:{}/.s.PGSQL.5432", a.dir().display()), "agent-b:postgres"]);
    assert_eq!(psql(&program, &["-h", a.dir().to_str().unwrap()], &rows), here);
}

#[test]
fn a_misspelt_peer_is_told_and_one_without_trust_has_a_reason() {
    let (a, _b, relay, _) = pair();
    let netcheck = a.until_ok(&["netcheck", &relay.node_id()]);
    assert!(!netcheck["peer"]["why_code"].is_null(), "{netcheck}");
    let netcheck = a.run(&["netcheck", &relay.node_id()]).stdout;
    let row = |label: &str| {
        let row = netcheck.lines().find_map(|line| line.trim().strip_prefix(label));
        row.unwrap_or_else(|| panic!("{netcheck}")).trim().to_owned()
    };
    assert!(!["–", ""].contains(&row("reason").as_str()), "{netcheck}");
    let warning = "warning: agnet-b is not known here; did you mean agent-b?";
    for args in [&["url", "agnet-b", "x"][..], &["mcp", "install", "agnet-b"]] {
        let done = a.run(args);
        assert_eq!(done.code, 0, "{done:?}");
        assert!(done.stderr.contains(warning), "{done:?}");
        let known: Vec<_> = args.iter().map(|arg| arg.replace("agnet", "agent")).collect();
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        assert!(!a.run(&known).stderr.contains("warning"), "{known:?}");
    }
    let mut command = a.command(&["forward", "0", "agnet-b:x"]);
    let mut forward =
        Running(command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(forward.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains(warning), "{line}");
}

#[test]
fn what_a_served_program_has_started_ends_with_it() {
    let (a, b, _relay, _) = pair();
    let _listener = listening(&b, &["started", "--exec", "sleep 600 >/dev/null 2>&1 & echo $!"]);
    let pid = a.run(&["connect", "agent-b", "started"]).stdout;
    let stat = format!("/proc/{}/stat", pid.trim());
    // A zombie that nobody waits for (a container without an init) does not run.
    let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    until("what it has started is gone", || !runs());
}
