//! Why there is no image.

/// Why a module has no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no valid module.
    #[error("not a valid module: {0}")]
    Invalid(#[from] wasmparser::BinaryReaderError),

    /// There is no such export, or it takes or returns something.
    #[error("there is no export `{0}` that takes and returns nothing")]
    NoExport(String),

    /// The module has something that an image cannot keep.
    #[error("a module with {0} has no image")]
    Unsupported(&'static str),

    /// It asked the host for something, which is not the same for every instance.
    #[error("`{export}` calls `{import}`, which an image must not depend on{}", said(.output))]
    HostCall {
        /// The export that ran.
        export: String,
        /// Module and name of the import.
        import: String,
        /// What it had written to its outputs.
        output: String,
    },

    /// The export did not come to its end.
    #[error("`{export}` failed: {reason}{}", said(.output))]
    Failed {
        /// The export that ran.
        export: String,
        /// What the interpreter says.
        reason: String,
        /// What it had written to its outputs.
        output: String,
    },
}

fn said(output: &str) -> String {
    match output.trim_end() {
        "" => String::new(),
        output => format!("\nit wrote:\n{output}"),
    }
}
