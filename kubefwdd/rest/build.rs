//! The description of the interface shows names and addresses as the texts they are.

fn main() {
    utoipa_config::Config::new()
        .alias_for("HostName", "String")
        .alias_for("Ipv4Addr", "String")
        .alias_for("Key", "String")
        .alias_for("ServiceName", "String")
        .write_to_file();
}
