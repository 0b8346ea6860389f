//! SIGHUP: the configuration is read again, and no connection ends.

use kubefwd_tests::harness::sandbox::run;
use kubefwd_tests::harness::{Options, eventually, net};

use crate::support::{forwarding, no_warning, warning};

#[test]
fn what_can_change_changes_and_connections_go_on() {
    run(async |sandbox| {
        let (_cluster, mut system) = forwarding(&sandbox, Options::default()).await;
        let mut open = net::connect("echo", 7000);
        net::echo(&mut open, b"before");
        assert!(net::resolve("web-demo").is_empty());
        system
            .configure("[names]\ndashed = true\n[addresses.reserve]\n\"echo\" = \"127.88.0.1\"\n");
        system.reload();
        eventually("names with dashes are there", || {
            (!net::resolve("web-demo").is_empty()).then_some(())
        });
        // The listener moved with the reservation; the connection did not.
        eventually("the address is the reserved one", || {
            let at = net::resolve("echo");
            (at == ["127.88.0.1".parse::<std::net::IpAddr>().unwrap()]).then_some(())
        });
        net::echo(&mut open, b"after");
        system.configure("");
        system.reload();
        eventually("names with dashes are gone", || {
            net::resolve("web-demo").is_empty().then_some(())
        });
        net::echo(&mut open, b"and after that");
        no_warning(&system);
    });
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_said() {
    run(async |sandbox| {
        let (_cluster, mut system) = forwarding(&sandbox, Options::default()).await;
        for (text, why) in [
            ("[names]\ndashed = true\nsokcet = 1", "sokcet"),
            (
                "[names]\ndashed = true\n[rest]\nidentity = \"whoever\"",
                "whoever",
            ),
            ("log = \"a=b=c\"\n[names]\ndashed = true", "log"),
        ] {
            system.configure(text);
            system.reload();
            let said = warning(&system, why);
            assert!(said.contains("the old one stays in force"), "{said}");
            assert!(net::resolve("web-demo").is_empty());
        }
        assert!(net::get("web", 80).contains("pod: web-"));
        system.configure("");
        system.reload();
        no_warning(&system);
    });
}

#[test]
fn what_cannot_change_is_said_and_comes_with_the_next_start() {
    run(async |sandbox| {
        let (_cluster, mut system) = forwarding(&sandbox, Options::default()).await;
        system.configure("[addresses]\nrange = \"127.64.0.0/10\"\n");
        system.reload();
        let said = warning(&system, "addresses.range");
        assert!(said.contains("needs a restart"), "{said}");
        assert!(said.contains("systemctl restart kubefwdd"), "{said}");
        assert!(net::get("web", 80).contains("pod: web-"));
        system.restart_daemon();
        eventually("addresses are of the new range", || {
            let at = net::resolve("web");
            at.first()?.to_string().starts_with("127.6").then_some(())
        });
    });
}
