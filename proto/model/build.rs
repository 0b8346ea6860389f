//! The description of the REST interface shows names and addresses as the texts they are.

fn main() {
    #[cfg(feature = "openapi")]
    utoipa_config::Config::new()
        .alias_for("ContextName", "String")
        .alias_for("HostName", "String")
        .alias_for("Ipv4Addr", "String")
        .alias_for("Key", "String")
        .alias_for("NamespaceName", "String")
        .alias_for("ServiceName", "String")
        .alias_for("Text", "String")
        .write_to_file();
}
