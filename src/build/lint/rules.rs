//! BuildKit's rules, in its words.
//!
//! From <https://github.com/moby/buildkit/blob/v0.26.0/frontend/dockerfile/linter/ruleset.go>.

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub name: &'static str,
    pub description: &'static str,
    /// The last part of its page's address; empty if there is no page.
    pub page: &'static str,
    /// Checked only if that is asked for.
    pub experimental: bool,
}

impl Rule {
    /// The page that explains it.
    pub fn url(&self) -> String {
        if self.page.is_empty() { String::new() } else { format!("https://docs.docker.com/go/dockerfile/rule/{}/", self.page) }
    }
}

const fn rule(name: &'static str, page: &'static str, description: &'static str) -> Rule {
    Rule { name, description, page, experimental: false }
}

pub const STAGE_NAME_CASING: Rule = rule("StageNameCasing", "stage-name-casing", "Stage names should be lowercase");
pub const FROM_AS_CASING: Rule = rule("FromAsCasing", "from-as-casing", "The 'as' keyword should match the case of the 'from' keyword");
pub const NO_EMPTY_CONTINUATION: Rule =
    rule("NoEmptyContinuation", "no-empty-continuation", "Empty continuation lines will become errors in a future release");
pub const CONSISTENT_INSTRUCTION_CASING: Rule = rule(
    "ConsistentInstructionCasing",
    "consistent-instruction-casing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
);
pub const DUPLICATE_STAGE_NAME: Rule = rule("DuplicateStageName", "duplicate-stage-name", "Stage names should be unique");
pub const RESERVED_STAGE_NAME: Rule = rule("ReservedStageName", "reserved-stage-name", "Reserved words should not be used as stage names");
pub const JSON_ARGS_RECOMMENDED: Rule = rule(
    "JSONArgsRecommended",
    "json-args-recommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
);
pub const MAINTAINER_DEPRECATED: Rule = rule(
    "MaintainerDeprecated",
    "maintainer-deprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
);
pub const UNDEFINED_ARG_IN_FROM: Rule = rule("UndefinedArgInFrom", "undefined-arg-in-from", "FROM command must use declared ARGs");
pub const WORKDIR_RELATIVE_PATH: Rule = rule(
    "WorkdirRelativePath",
    "workdir-relative-path",
    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
);
pub const UNDEFINED_VAR: Rule = rule("UndefinedVar", "undefined-var", "Variables should be defined before their use");
pub const MULTIPLE_INSTRUCTIONS_DISALLOWED: Rule = rule(
    "MultipleInstructionsDisallowed",
    "multiple-instructions-disallowed",
    "Multiple instructions of the same type should not be used in the same stage",
);
pub const LEGACY_KEY_VALUE_FORMAT: Rule =
    rule("LegacyKeyValueFormat", "legacy-key-value-format", "Legacy key/value format with whitespace separator should not be used");
pub const INVALID_BASE_IMAGE_PLATFORM: Rule =
    rule("InvalidBaseImagePlatform", "", "Base image platform does not match expected target platform");
pub const REDUNDANT_TARGET_PLATFORM: Rule = rule(
    "RedundantTargetPlatform",
    "redundant-target-platform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
);
pub const SECRETS_USED_IN_ARG_OR_ENV: Rule =
    rule("SecretsUsedInArgOrEnv", "secrets-used-in-arg-or-env", "Sensitive data should not be used in the ARG or ENV commands");
pub const INVALID_DEFAULT_ARG_IN_FROM: Rule = rule(
    "InvalidDefaultArgInFrom",
    "invalid-default-arg-in-from",
    "Default value for global ARG results in an empty or invalid base image name",
);
pub const FROM_PLATFORM_FLAG_CONST_DISALLOWED: Rule =
    rule("FromPlatformFlagConstDisallowed", "from-platform-flag-const-disallowed", "FROM --platform flag should not use a constant value");
pub const COPY_IGNORED_FILE: Rule =
    rule("CopyIgnoredFile", "copy-ignored-file", "Attempting to Copy file that is excluded by .dockerignore");
pub const INVALID_DEFINITION_DESCRIPTION: Rule = Rule {
    experimental: true,
    ..rule(
        "InvalidDefinitionDescription",
        "invalid-definition-description",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
    )
};
pub const EXPOSE_PROTO_CASING: Rule =
    rule("ExposeProtoCasing", "expose-proto-casing", "Protocol in EXPOSE instruction should be lowercase");
pub const EXPOSE_INVALID_FORMAT: Rule = rule(
    "ExposeInvalidFormat",
    "expose-invalid-format",
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
);
