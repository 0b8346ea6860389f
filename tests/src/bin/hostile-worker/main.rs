//! `hostile-worker`: what a user could put in the place of their worker. The daemon starts it as it starts a worker; it does
//! what the next line of `$HOME/script` says, and without a line it becomes the real worker beside it.

mod theft;

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, FromRawFd as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kubefwd_model::{Failure, Reason};
use kubefwd_proto::channel::{Accepts, Receiver, Sender, channel};
use kubefwd_proto::worker::PROTOCOL;
use kubefwd_proto::worker::v1::{self as wire, FromWorker, ToWorker, from_worker, to_worker};

/// Where the daemon puts the channel.
const CHANNEL: i32 = 3;
/// The last line that a flood or a list of lies puts into the log, as far as it may still write there.
const DONE: &str = "all is said\n\u{1b}[31mkubefwdd: forged";

fn main() -> Result<()> {
    let Some(line) = next_line()? else {
        let own = std::env::current_exe()?;
        let error = Command::new(own.with_file_name("kubefwd-worker"))
            .args(std::env::args_os().skip(1))
            .exec();
        return Err(error).context("cannot become the real worker");
    };
    #[expect(unsafe_code, reason = "an inherited descriptor is known by its number")]
    // SAFETY: the daemon has put its channel there, and nothing else in this process knows of it.
    let socket = unsafe { UnixStream::from_raw_fd(CHANNEL) };
    act(&line, socket)
}

/// Takes a line from the script.
fn next_line() -> Result<Option<String>> {
    let home = std::env::var_os("HOME").context("the daemon gives a HOME")?;
    let path = PathBuf::from(home).join("script");
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let Some((line, rest)) = text.split_once('\n') else {
        return Ok(None);
    };
    std::fs::write(&path, rest)?;
    Ok(Some(line.to_owned()))
}

fn act(line: &str, mut socket: UnixStream) -> Result<()> {
    match line {
        "exit" => return Ok(()),
        "leave-key" => theft::leave_key()?,
        "find-key" => theft::find_key()?,
        "standard-error" => theft::use_standard_error()?,
        "login-user" => theft::login_user()?,
        "oversized" => socket.write_all(&[0xff; 64])?,
        "truncated" => {
            // Whoever is gone before the daemon has spoken has only closed.
            socket.read_exact(&mut [0; 5])?;
            return Ok(socket.write_all(&[200, 0, 0, 0, 0, 1, 2, 3])?);
        }
        "garbage" => socket.write_all(&[3, 0, 0, 0, 0, 0xff, 0xff, 0xff])?,
        "dripping" => {
            socket.write_all(&[0, 16, 0, 0, 0])?;
            while socket.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        _ => return speak(line, socket),
    }
    // Until the daemon has had enough.
    io::copy(&mut socket, &mut io::sink())?;
    Ok(())
}

/// Says what can be said in well-formed frames.
fn speak(line: &str, socket: UnixStream) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (sender, receiver) = channel(socket, Accepts::Descriptors)?;
        let mut worker = Worker { sender, receiver };
        match line {
            "log-first" => worker.say(log("before hello")).await?,
            "protocol" => worker.say(hello(PROTOCOL + 1)).await?,
            "descriptor" => worker.attach_a_descriptor().await?,
            "mute" => worker.say(hello(PROTOCOL)).await?,
            "deaf" => {
                worker.say(hello(PROTOCOL)).await?;
                return std::future::pending().await;
            }
            "lies" => worker.lie().await?,
            "lines" => match worker.flood_the_log().await? {},
            "bombs" => worker.send_bombs().await?,
            "endless" => worker.list_without_an_end().await?,
            "hoard" => worker.hoard().await?,
            "accuse" => match worker.accuse().await? {},
            "impersonate" => worker.impersonate().await?,
            "listen-again" => worker.listen_after_revocation().await?,
            _ => bail!("no such line: {line}"),
        }
        worker.hear_out().await
    })
}

struct Worker {
    sender: Sender<FromWorker>,
    receiver: Receiver<ToWorker>,
}

impl Worker {
    async fn say(&mut self, frame: from_worker::Frame) -> Result<()> {
        let frame = FromWorker { frame: Some(frame) };
        Ok(self.sender.send(&frame, None).await?)
    }

    async fn attach_a_descriptor(&mut self) -> Result<()> {
        let (ours, _theirs) = UnixStream::pair()?;
        let frame = FromWorker {
            frame: Some(hello(PROTOCOL)),
        };
        Ok(self.sender.send(&frame, Some(ours.as_fd())).await?)
    }

    /// Reads until the daemon closes, and answers nothing.
    async fn hear_out(&mut self) -> Result<()> {
        while self.receiver.receive().await?.is_some() {}
        Ok(())
    }

    /// Waits until the daemon wants something forwarded: what is said before is about nothing.
    async fn is_wanted(&mut self) -> Result<()> {
        self.say(hello(PROTOCOL)).await?;
        while let Some((frame, _)) = self.receiver.receive().await? {
            if let Some(to_worker::Frame::Desired(desired)) = frame.frame
                && !desired.contexts.is_empty()
            {
                return Ok(());
            }
        }
        bail!("the daemon wants nothing of this worker")
    }

    /// What is not so, about everything there is to lie about.
    async fn lie(&mut self) -> Result<()> {
        self.is_wanted().await?;
        for frame in lies() {
            self.say(frame).await?;
        }
        self.say(log(DONE)).await
    }

    async fn flood_the_log(&mut self) -> Result<std::convert::Infallible> {
        self.is_wanted().await?;
        let text = "x".repeat(4_000);
        for _ in 0..20_000 {
            self.say(log(&text)).await?;
        }
        // How many were left out is said with the next line that there is room for.
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.say(log("one more")).await?;
        }
    }

    /// Frames that are small on the wire, and many times as large once they are read; more than fit into any queue.
    async fn send_bombs(&mut self) -> Result<()> {
        self.is_wanted().await?;
        // Half of the largest frame, two bytes for each service, of which none has a name.
        let empty = services(
            "sim",
            "demo",
            vec![wire::ObservedService::default(); 260_000],
        );
        for frame in 0..12 {
            self.say(empty.clone()).await?;
            self.say(services("sim", "demo", names(frame))).await?;
        }
        self.say(log(DONE)).await
    }

    /// Claims to need more ports than a machine has descriptors.
    async fn hoard(&mut self) -> Result<()> {
        self.is_wanted().await?;
        let ports = (1..=256).map(|port| wire::ObservedPort {
            port,
            protocol: "TCP".to_owned(),
            ..wire::ObservedPort::default()
        });
        let ports: Vec<_> = ports.collect();
        for n in 0..300 {
            let large = wire::ObservedService {
                ports: ports.clone(),
                ..service(&format!("b{n}"))
            };
            // Beside those that were there before.
            let report = wire::ServicesReport {
                context: "sim".to_owned(),
                namespace: "demo".to_owned(),
                services: vec![large],
                ..wire::ServicesReport::default()
            };
            self.say(from_worker::Frame::Services(report)).await?;
        }
        self.say(log(DONE)).await
    }

    /// Says that everybody knocks at a port of this user.
    async fn accuse(&mut self) -> Result<std::convert::Infallible> {
        self.is_wanted().await?;
        self.say(services("sim", "demo", vec![service("edge")]))
            .await?;
        let listener = loop {
            let (frame, _) = self
                .receiver
                .receive()
                .await?
                .context("the daemon is gone")?;
            if let Some(to_worker::Frame::Grant(grant)) = frame.frame {
                break grant.listener;
            }
        };
        for uid in 70_000..73_000 {
            let refused = wire::Refused {
                listener,
                uid: Some(uid),
                count: 1,
            };
            self.say(from_worker::Frame::Refused(refused)).await?;
        }
        // There may be no room left for its last word.
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.say(log(DONE)).await?;
        }
    }

    async fn list_without_an_end(&mut self) -> Result<()> {
        self.is_wanted().await?;
        for frame in 0.. {
            let report = wire::ServicesReport {
                context: "sim".to_owned(),
                namespace: "demo".to_owned(),
                first: frame == 0,
                services: names(frame),
                ..wire::ServicesReport::default()
            };
            self.say(from_worker::Frame::Services(report)).await?;
        }
        Ok(())
    }
}

fn hello(protocol: u32) -> from_worker::Frame {
    from_worker::Frame::Hello(wire::Hello {
        protocol,
        version: "\u{1b}[31m\n0".to_owned(),
    })
}

fn log(message: &str) -> from_worker::Frame {
    from_worker::Frame::Log(wire::Log {
        level: wire::LogLevel::Error.into(),
        message: message.to_owned(),
        ..wire::Log::default()
    })
}

fn services(
    context: &str,
    namespace: &str,
    services: Vec<wire::ObservedService>,
) -> from_worker::Frame {
    from_worker::Frame::Services(wire::ServicesReport {
        context: context.to_owned(),
        namespace: namespace.to_owned(),
        first: true,
        complete: true,
        services,
        removed: Vec::new(),
    })
}

/// A service as it could be in a cluster, but for its name.
fn service(name: &str) -> wire::ObservedService {
    wire::ObservedService {
        name: name.to_owned(),
        ports: vec![wire::ObservedPort {
            port: 80,
            protocol: "TCP".to_owned(),
            ..wire::ObservedPort::default()
        }],
        ready_pods: 1,
        total_pods: 1,
        selected: true,
        ..wire::ObservedService::default()
    }
}

/// As many services as fit into a frame, others in each.
fn names(frame: u32) -> Vec<wire::ObservedService> {
    let many = (0..40_000).map(|n| wire::ObservedService {
        name: format!("b{}", n + 40_000 * frame),
        ..wire::ObservedService::default()
    });
    many.collect()
}

fn lies() -> Vec<from_worker::Frame> {
    let huge = "h".repeat(20_000);
    let names = [
        "a\n127.0.0.1 bank",
        "..",
        "localhost",
        "github.com",
        "UPPER",
        "",
        "a b",
        "a\0b",
        "-",
        huge.as_str(),
    ];
    // A second hello, and namespaces that nobody asked for.
    let mut frames = vec![hello(PROTOCOL)];
    frames.push(services("other\n", "../..", vec![service("stranger")]));
    frames.push(services(
        "sim",
        "never-asked-for",
        vec![service("stranger")],
    ));
    // One service with everything wrong inside of it.
    let wrong = [0, 80, 80, 65_536, u32::MAX].map(|port| wire::ObservedPort {
        port,
        name: huge.clone(),
        protocol: "TCP".to_owned(),
    });
    let odd = wire::ObservedService {
        headless: true,
        ports: wrong.into(),
        pods: names.iter().map(|name| (*name).to_owned()).collect(),
        ready_pods: u32::MAX,
        total_pods: 0,
        ..service("odd")
    };
    let mut found: Vec<_> = names.iter().map(|name| service(name)).collect();
    found.push(odd);
    found.push(service("honest"));
    frames.push(services("sim", "demo", found));
    frames.extend(lies_about_listeners(&huge));
    frames.push(from_worker::Frame::Namespace(wire::NamespaceReport {
        context: "sim".to_owned(),
        namespace: "demo".to_owned(),
        phase: 99,
        notes: vec![huge; 9],
        sequence: u64::MAX,
        ..wire::NamespaceReport::default()
    }));
    frames
}

/// About listeners that are another's, or nobody's: their numbers are small ones.
fn lies_about_listeners(huge: &str) -> Vec<from_worker::Frame> {
    let mut frames = Vec::new();
    for listener in (0..64).chain([u64::MAX]) {
        frames.push(from_worker::Frame::Held(wire::Held {
            listener,
            error: "forged: not held".to_owned(),
        }));
        frames.push(from_worker::Frame::Forward(wire::ForwardReport {
            listener,
            phase: wire::ForwardPhase::Error.into(),
            pod: huge.to_owned(),
            failure: Some(Failure::new(Reason::Internal, "\u{1b}[2J\nforged line").into()),
            pod_port: u32::MAX,
            sequence: u64::MAX,
            ..wire::ForwardReport::default()
        }));
        frames.push(from_worker::Frame::Traffic(wire::TrafficReport {
            traffic: vec![wire::Traffic {
                listener,
                bytes_in: u64::MAX,
                bytes_out: u64::MAX,
                active: u64::MAX,
                opened: u64::MAX,
                ..wire::Traffic::default()
            }],
        }));
        frames.push(from_worker::Frame::Http(wire::HttpReport {
            exchanges: vec![wire::HttpExchange {
                listener,
                method: huge.to_owned(),
                path: "\n/forged".to_owned(),
                ..wire::HttpExchange::default()
            }],
            dropped: [(listener, u64::MAX)].into(),
        }));
        frames.push(from_worker::Frame::Refused(wire::Refused {
            listener,
            uid: Some(0),
            count: u64::MAX,
        }));
        frames.push(from_worker::Frame::Answer(wire::Answer {
            id: listener,
            last: true,
            answer: None,
        }));
    }
    frames
}
