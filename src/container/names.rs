//! Container names: Docker's random ones, and how a name is claimed.

use std::fs;
use std::io;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::state::Lock;

use super::record;

/// A name that a container being made has claimed; it is given back when dropped, unless kept.
#[derive(Debug)]
pub(super) struct Claim {
    home: Home,
    pub(super) name: String,
    kept: bool,
    // Until the container's directory stands, the name points to nothing; the lock keeps others from taking it over.
    _lock: Lock,
}

impl Claim {
    /// Says that the container now stands.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(self.home.names().join(&self.name));
        }
    }
}

/// Claims `wanted`, or a free random name, for the container `id`.
///
/// # Errors
/// A bad name; a taken one, naming the container that has it.
pub(super) fn claim(home: &Home, wanted: Option<&str>, id: &str) -> Result<Claim> {
    let lock = Lock::alone(home, "names")?;
    let name = match wanted {
        Some(name) => {
            let name = name.strip_prefix('/').unwrap_or(name);
            claim_name(home, name, id)?;
            name.to_owned()
        }
        None => claim_random(home, id)?,
    };
    Ok(Claim { home: home.clone(), name, kept: false, _lock: lock })
}

fn claim_random(home: &Home, id: &str) -> Result<String> {
    let mut last = None;
    for attempt in 0..100 {
        let name = random(attempt);
        match claim_name(home, &name, id) {
            Ok(()) => return Ok(name),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| Failure::new("cannot find a free container name")))
}

/// Links the name in, or takes it over from a container that is gone; the caller holds the lock.
fn claim_name(home: &Home, name: &str, id: &str) -> Result<()> {
    if !record::is_name(name) {
        return Err(Failure::new(format!("cannot name a container `{name}`"))
            .because("a name has letters, digits, `_`, `.` and `-`, at least two, and begins with a letter or a digit")
            .exit(125));
    }
    if let Some(holder) = record::id_of_name(home, name)?
        && record::record_path(home, &holder).exists()
    {
        return Err(Failure::new(format!("cannot name a container `{name}`"))
            .because(format!("container {} has this name", &holder[..12]))
            .hint(format!("choose another name, or remove that container with `coracle rm {name}`"))
            .exit(125));
    }
    state::write_whole(&home.names().join(name), id.as_bytes())
}

/// Gives a name back if it is still this container's.
pub(super) fn release(home: &Home, name: &str, id: &str) -> Result<()> {
    let _lock = Lock::alone(home, "names")?;
    if record::id_of_name(home, name)?.is_none_or(|holder| holder != id) {
        return Ok(());
    }
    match fs::remove_file(home.names().join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.doing(|| format!("cannot free the name `{name}`")),
    }
}

/// An adjective and a surname, with a digit once the names get scarce.
fn random(attempt: usize) -> String {
    let digits = state::random_hex();
    let number = |from: usize| usize::from_str_radix(&digits[from..from + 8], 16).unwrap_or(0);
    let (adjective, surname) = (ADJECTIVES[number(0) % ADJECTIVES.len()], SURNAMES[number(8) % SURNAMES.len()]);
    match attempt {
        0..10 => format!("{adjective}_{surname}"),
        _ => format!("{adjective}_{surname}{}", number(16) % 1000),
    }
}

const ADJECTIVES: &[&str] = &[
    "admiring",
    "adoring",
    "affectionate",
    "agitated",
    "amazing",
    "angry",
    "awesome",
    "beautiful",
    "blissful",
    "bold",
    "boring",
    "brave",
    "busy",
    "charming",
    "clever",
    "compassionate",
    "competent",
    "condescending",
    "confident",
    "cool",
    "cranky",
    "crazy",
    "dazzling",
    "determined",
    "distracted",
    "dreamy",
    "eager",
    "ecstatic",
    "elastic",
    "elated",
    "elegant",
    "eloquent",
    "epic",
    "exciting",
    "fervent",
    "festive",
    "flamboyant",
    "focused",
    "friendly",
    "frosty",
    "funny",
    "gallant",
    "gifted",
    "goofy",
    "gracious",
    "great",
    "happy",
    "hardcore",
    "heuristic",
    "hopeful",
    "hungry",
    "infallible",
    "inspiring",
    "intelligent",
    "interesting",
    "jolly",
    "jovial",
    "keen",
    "kind",
    "laughing",
    "loving",
    "lucid",
    "magical",
    "modest",
    "musing",
    "mystifying",
    "naughty",
    "nervous",
    "nice",
    "nifty",
    "nostalgic",
    "objective",
    "optimistic",
    "peaceful",
    "pedantic",
    "pensive",
    "practical",
    "priceless",
    "quirky",
    "quizzical",
    "recursing",
    "relaxed",
    "reverent",
    "romantic",
    "sad",
    "serene",
    "sharp",
    "silly",
    "sleepy",
    "stoic",
    "strange",
    "stupefied",
    "suspicious",
    "sweet",
    "tender",
    "thirsty",
    "trusting",
    "unruffled",
    "upbeat",
    "vibrant",
    "vigilant",
    "vigorous",
    "wizardly",
    "wonderful",
    "xenodochial",
    "youthful",
    "zealous",
    "zen",
];

const SURNAMES: &[&str] = &[
    "agnesi",
    "albattani",
    "allen",
    "almeida",
    "archimedes",
    "ardinghelli",
    "aryabhata",
    "austin",
    "babbage",
    "banach",
    "bardeen",
    "bartik",
    "bassi",
    "bell",
    "bhabha",
    "bhaskara",
    "blackwell",
    "bohr",
    "booth",
    "borg",
    "bose",
    "bouman",
    "boyd",
    "brahmagupta",
    "brattain",
    "brown",
    "buck",
    "burnell",
    "cannon",
    "carson",
    "cartwright",
    "cerf",
    "chandrasekhar",
    "chaplygin",
    "clarke",
    "colden",
    "cori",
    "cray",
    "curie",
    "curran",
    "darwin",
    "davinci",
    "diffie",
    "dijkstra",
    "dirac",
    "driscoll",
    "dubinsky",
    "easley",
    "edison",
    "einstein",
    "elbakyan",
    "elgamal",
    "elion",
    "ellis",
    "engelbart",
    "euclid",
    "euler",
    "faraday",
    "feistel",
    "fermat",
    "fermi",
    "feynman",
    "franklin",
    "gagarin",
    "galileo",
    "galois",
    "ganguly",
    "gates",
    "gauss",
    "germain",
    "goldberg",
    "goldstine",
    "golick",
    "goodall",
    "gould",
    "greider",
    "hamilton",
    "haslett",
    "hawking",
    "heisenberg",
    "hermann",
    "herschel",
    "hertz",
    "heyrovsky",
    "hodgkin",
    "hoover",
    "hopper",
    "hugle",
    "hypatia",
    "jackson",
    "jang",
    "jemison",
    "jennings",
    "jepsen",
    "johnson",
    "joliot",
    "jones",
    "kalam",
    "kapitsa",
    "kare",
    "keldysh",
    "keller",
    "kepler",
    "khayyam",
    "khorana",
    "kilby",
    "kirch",
    "knuth",
    "kowalevski",
    "lalande",
    "lamarr",
    "lamport",
    "leakey",
    "leavitt",
    "lederberg",
    "lehmann",
    "lewin",
    "lichterman",
    "liskov",
    "lovelace",
    "lumiere",
    "mahavira",
    "margulis",
    "matsumoto",
    "maxwell",
    "mayer",
    "mccarthy",
    "mcclintock",
    "mclaren",
    "mclean",
    "mcnulty",
    "meitner",
    "mendel",
    "mendeleev",
    "meninsky",
    "merkle",
    "mestorf",
    "mirzakhani",
    "montalcini",
    "moore",
    "morse",
    "moser",
    "murdock",
    "napier",
    "nash",
    "neumann",
    "newton",
    "nightingale",
    "nobel",
    "noether",
    "northcutt",
    "noyce",
    "panini",
    "pare",
    "pascal",
    "pasteur",
    "payne",
    "perlman",
    "pike",
    "poincare",
    "poitras",
    "proskuriakova",
    "ptolemy",
    "raman",
    "ramanujan",
    "rhodes",
    "ride",
    "ritchie",
    "robinson",
    "roentgen",
    "rosalind",
    "rubin",
    "saha",
    "sammet",
    "sanderson",
    "satoshi",
    "shamir",
    "shannon",
    "shaw",
    "shirley",
    "shockley",
    "shtern",
    "sinoussi",
    "snyder",
    "solomon",
    "spence",
    "stonebraker",
    "sutherland",
    "swanson",
    "swartz",
    "swirles",
    "taussig",
    "tesla",
    "tharp",
    "thompson",
    "torvalds",
    "tu",
    "turing",
    "varahamihira",
    "vaughan",
    "villani",
    "visvesvaraya",
    "volhard",
    "wescoff",
    "wilbur",
    "wiles",
    "williams",
    "williamson",
    "wilson",
    "wing",
    "wozniak",
    "wright",
    "wu",
    "yalow",
    "yonath",
    "zhukovsky",
];
