//! What a sign-in was made with, as far as its `User-Agent` says: a kind of device, a browser, a system.
//!
//! A `User-Agent` is a claim that anybody can make. It helps people recognise their own devices; nothing is decided by
//! it. Reading never fails and looks at a bounded text. Sessions and audit events keep the text itself, so what this
//! module learns later applies to what was kept before.

use std::{borrow::Cow, fmt};

use serde::Serialize;

/// What is looked at; browsers send about 150 bytes.
const BYTES_MAX: usize = 1_024;

/// More digits are no version.
const VERSION_DIGITS_MAX: usize = 4;

/// The rough kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A desktop or laptop.
    Computer,
    /// A phone.
    Phone,
    /// A tablet.
    Tablet,
    /// A television or a stick in one.
    Tv,
    /// A game console.
    Console,
    /// A script or an app that uses a library for HTTP.
    Program,
    /// A crawler.
    Bot,
    /// Nothing known.
    Unknown,
}

impl DeviceKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Computer => "computer",
            Self::Phone => "phone",
            Self::Tablet => "tablet",
            Self::Tv => "tv",
            Self::Console => "console",
            Self::Program => "program",
            Self::Bot => "bot",
            Self::Unknown => "unknown",
        }
    }
}

/// A browser or a system with its major version, where it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// What it is called.
    pub name: &'static str,
    /// Its major version.
    pub version: Option<Cow<'static, str>>,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{} {version}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its kind.
    pub kind: DeviceKind,
    /// The browser or program.
    pub browser: Option<Product>,
    /// The operating system.
    pub os: Option<Product>,
}

impl Device {
    /// Reads a `User-Agent`.
    pub fn read(user_agent: Option<&str>) -> Self {
        let text = user_agent.unwrap_or_default();
        let text = text
            .get(..text.floor_char_boundary(BYTES_MAX))
            .unwrap_or_default();
        let browser = browser(text);
        let os = os(text);
        Self {
            kind: kind(text, os.as_ref()),
            browser,
            os,
        }
    }

    /// What stays the same when browser and system are updated.
    pub fn family(&self) -> String {
        let name = |product: &Option<Product>| product.as_ref().map_or("", |product| product.name);
        format!(
            "{}/{}/{}",
            self.kind.as_str(),
            name(&self.browser),
            name(&self.os)
        )
    }
}

/// For people: "Firefox 133 on Android 14 (phone)".
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.browser, &self.os) {
            (Some(browser), Some(os)) => write!(f, "{browser} on {os}"),
            (Some(one), None) | (None, Some(one)) => one.fmt(f),
            (None, None) => return f.write_str("an unknown device"),
        }?;
        if matches!(self.kind, DeviceKind::Unknown) {
            return Ok(());
        }
        write!(f, " ({})", self.kind.as_str())
    }
}

/// Libraries and tools, by what their `User-Agent` contains.
const PROGRAMS: [(&str, &str); 20] = [
    ("WindowsPowerShell/", "PowerShell"),
    ("PowerShell/", "PowerShell"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("python-requests/", "Python requests"),
    ("python-httpx/", "Python httpx"),
    ("Python-urllib/", "Python urllib"),
    ("aiohttp/", "Python aiohttp"),
    ("okhttp/", "OkHttp"),
    ("Go-http-client/", "Go"),
    ("PostmanRuntime/", "Postman"),
    ("insomnia/", "Insomnia"),
    ("HTTPie/", "HTTPie"),
    ("axios/", "axios"),
    ("node-fetch/", "node-fetch"),
    ("Apache-HttpClient/", "Apache HttpClient"),
    ("Dart/", "Dart"),
    ("CFNetwork/", "Apple CFNetwork"),
    ("reqwest/", "reqwest"),
    ("Java/", "Java"),
];

/// Browsers by their own token. Many also name those they descend from, so the descendants stand first.
const BROWSERS: [(&str, &str); 35] = [
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edg/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("OPX/", "Opera"),
    ("Opera Mini/", "Opera Mini"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("UCBrowser/", "UC Browser"),
    ("MicroMessenger/", "WeChat"),
    ("MQQBrowser/", "QQ Browser"),
    ("QQBrowser/", "QQ Browser"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("MiuiBrowser/", "Mi Browser"),
    ("VivoBrowser/", "vivo Browser"),
    ("HeyTapBrowser/", "HeyTap Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Ddg/", "DuckDuckGo"),
    ("Brave/", "Brave"),
    ("Whale/", "Whale"),
    ("Silk/", "Silk"),
    ("FBAV/", "Facebook"),
    ("Instagram ", "Instagram"),
    ("Line/", "LINE"),
    ("Electron/", "Electron"),
    ("FxiOS/", "Firefox"),
    ("SeaMonkey/", "SeaMonkey"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Headless Chrome"),
    ("GSA/", "Google app"),
    ("Chromium/", "Chromium"),
];

fn browser(text: &str) -> Option<Product> {
    let known = PROGRAMS.iter().chain(&BROWSERS);
    let found = known
        .filter(|(token, _)| text.contains(token))
        .map(|(token, name)| product(name, version_after(text, token)))
        .next();
    found.or_else(|| ancestor(text))
}

/// The browsers whose tokens all the others carry too.
fn ancestor(text: &str) -> Option<Product> {
    if text.contains("; wv)") {
        return Some(product("Android WebView", version_after(text, "Chrome/")));
    }
    if text.contains("Chrome/") {
        return Some(product("Chrome", version_after(text, "Chrome/")));
    }
    if text.contains("Opera/") || text.contains("Presto/") {
        return Some(product("Opera", version_after(text, "Version/")));
    }
    if text.contains("Trident/") || text.contains("MSIE ") {
        let version = version_after(text, "rv:").or_else(|| version_after(text, "MSIE "));
        return Some(product("Internet Explorer", version));
    }
    if text.contains("Safari/") && text.contains("Android") {
        return Some(product("Android Browser", version_after(text, "Version/")));
    }
    if text.contains("Safari/") {
        return Some(product("Safari", version_after(text, "Version/")));
    }
    None
}

/// Systems that tell no version worth showing: Macs have called themselves 10.15 ever since.
const OTHER_SYSTEMS: [(&str, &str); 12] = [
    ("CrOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("Mac OS X", "macOS"),
    ("Darwin/", "Apple"),
    ("Tizen", "Tizen"),
    ("Web0S", "webOS"),
    ("webOS", "webOS"),
    ("KAIOS/", "KaiOS"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("Linux", "Linux"),
    ("X11", "Unix"),
];

fn os(text: &str) -> Option<Product> {
    const CONSOLES: [(&str, &str); 3] = [
        ("PlayStation", "PlayStation"),
        ("Xbox", "Xbox"),
        ("Nintendo", "Nintendo"),
    ];
    for (token, name) in CONSOLES {
        if text.contains(token) {
            return Some(product(name, None));
        }
    }
    if text.contains("Windows Phone") {
        return Some(product("Windows Phone", version_after(text, "Windows Phone ")));
    }
    if text.contains("Windows") {
        return Some(product("Windows", windows_version(text)));
    }
    if text.contains("iPad") || text.contains("iPadOS") {
        return Some(product("iPadOS", version_after(text, "CPU OS ")));
    }
    if text.contains("iPhone") || text.contains("iPod") {
        return Some(product("iOS", version_after(text, "iPhone OS ")));
    }
    if text.contains("OpenHarmony") || text.contains("HarmonyOS") {
        return Some(product("HarmonyOS", version_after(text, "OpenHarmony ")));
    }
    if text.contains("Android") {
        return Some(product("Android", version_after(text, "Android ")));
    }
    let found = OTHER_SYSTEMS.iter().find(|(token, _)| text.contains(token));
    found.map(|(_, name)| product(name, None))
}

fn windows_version(text: &str) -> Option<Cow<'static, str>> {
    // Windows 11 calls itself 10.0 too.
    const VERSIONS: [(&str, &str); 6] = [
        ("Windows NT 10.", "10"),
        ("Windows NT 6.3", "8.1"),
        ("Windows NT 6.2", "8"),
        ("Windows NT 6.1", "7"),
        ("Windows NT 6.0", "Vista"),
        ("Windows NT 5.1", "XP"),
    ];
    let found = VERSIONS.iter().find(|(token, _)| text.contains(token));
    found.map(|(_, version)| Cow::Borrowed(*version))
}

fn kind(text: &str, os: Option<&Product>) -> DeviceKind {
    const BOTS: [&str; 6] = ["bot", "Bot", "crawler", "spider", "Slurp", "facebookexternalhit"];
    const TVS: [&str; 10] = [
        "SMART-TV",
        "SmartTV",
        "Smart TV",
        "HbbTV",
        "BRAVIA",
        "Android TV",
        "GoogleTV",
        "CrKey",
        "AppleTV",
        "AFT",
    ];
    let has = |tokens: &[&str]| tokens.iter().any(|token| text.contains(token));
    if has(&BOTS) {
        return DeviceKind::Bot;
    }
    if PROGRAMS.iter().any(|(token, _)| text.contains(token)) {
        return DeviceKind::Program;
    }
    let os = os.map_or("", |os| os.name);
    if has(&TVS) || os == "webOS" {
        return DeviceKind::Tv;
    }
    match os {
        "PlayStation" | "Xbox" | "Nintendo" => DeviceKind::Console,
        "iOS" | "Windows Phone" | "KaiOS" => DeviceKind::Phone,
        "Android" | "HarmonyOS" | "Tizen" if has(&["Mobile", "Phone"]) && !has(&["Tablet"]) => {
            DeviceKind::Phone
        }
        "iPadOS" | "Android" | "HarmonyOS" => DeviceKind::Tablet,
        "Windows" | "macOS" | "Linux" | "Unix" | "ChromeOS" | "FreeBSD" | "OpenBSD" => DeviceKind::Computer,
        // Firefox on a phone may hide which.
        _ if has(&["(Mobile;", "BlackBerry", "Opera Mini/"]) => DeviceKind::Phone,
        _ if has(&["(Tablet;"]) => DeviceKind::Tablet,
        _ => DeviceKind::Unknown,
    }
}

const fn product(name: &'static str, version: Option<Cow<'static, str>>) -> Product {
    Product { name, version }
}

/// The digits that follow `token`.
fn version_after(text: &str, token: &str) -> Option<Cow<'static, str>> {
    let (_, after) = text.split_once(token)?;
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let is_version = (1..=VERSION_DIGITS_MAX).contains(&digits);
    is_version.then(|| after.get(..digits).map(|digits| Cow::Owned(digits.to_owned())))?
}

#[cfg(test)]
mod tests;
