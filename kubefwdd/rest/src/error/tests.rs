//! Each reason has its code and status.

use super::*;

#[test]
fn reasons_become_the_codes_of_the_contract() {
    for (reason, status, code) in [
        (Reason::InvalidArgument, 400, Code::BadRequest),
        (Reason::PermissionDenied, 403, Code::Forbidden),
        (Reason::NamespaceNotFound, 404, Code::NotFound),
        (Reason::AlreadyExists, 409, Code::AlreadyExists),
        (Reason::Conflict, 409, Code::Conflict),
        (Reason::CredentialsNeeded, 503, Code::Unavailable),
        (Reason::Internal, 500, Code::InternalError),
    ] {
        let error = ApiError::from(Failure::new(reason, "secret details").hint("do this"));
        assert_eq!((error.status.as_u16(), error.body.code), (status, code));
        let hidden = code == Code::InternalError;
        assert_eq!(error.body.message.contains("secret"), !hidden);
    }
}
