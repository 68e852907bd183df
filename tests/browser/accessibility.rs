//! For everybody: by keyboard, by ear, with bad eyes, in every language.

use serde_json::{Value, json};
use system_tests::browser::{ESCAPE, TAB};

use crate::{stage::Stage, workbench::strings};

/// Every text on the page whose contrast is too low for its size, and every control that is too small or has no name.
pub(crate) const FAULTS: &str = "
    const channel = (part) => { part /= 255; return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4 };
    const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const parse = (text) => { const parts = text.match(/[\\d.]+/g).map(Number); return [parts.slice(0, 3), parts[3] ?? 1] };
    const ground = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const [color, alpha] = parse(getComputedStyle(at).backgroundColor);
            if (alpha === 1) return color;
            if (alpha > 0) return null;
        }
        return parse(getComputedStyle(document.body).backgroundColor)[0];
    };
    const shown = (node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !node.closest('.unseen');
    const found = [];
    const check = (node, color, what) => {
        const under = ground(node);
        const [light, dark] = [luminance(parse(color)[0]), luminance(under)].sort((a, b) => b - a);
        const ratio = (light + 0.05) / (dark + 0.05);
        if (ratio < 4.5) found.push(`${what}: ${ratio.toFixed(2)} ${color} on ${under}`);
    };
    for (const node of document.querySelectorAll('#root *')) {
        const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
        if (hasText && shown(node)) check(node, getComputedStyle(node).color, node.textContent.slice(0, 30));
    }
    check(document.querySelector('#input'), getComputedStyle(document.querySelector('#input'), '::placeholder').color, 'placeholder');
    for (const node of document.querySelectorAll('#root button, #root textarea, #root .theirs a')) {
        if (!shown(node)) continue;
        const box = node.getBoundingClientRect();
        if (node.localName !== 'a' && (box.width < 24 || box.height < 24)) found.push(`${node.id || node.className}: ${box.width} x ${box.height}`);
        if (!(node.getAttribute('aria-label') || node.innerText.trim())) found.push(`${node.outerHTML.slice(0, 80)}: no name`);
    }
    const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
    found.push(...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `${id} twice`));
    for (const node of document.querySelectorAll('[aria-describedby], [aria-controls]')) {
        const names = `${node.getAttribute('aria-describedby') ?? ''} ${node.getAttribute('aria-controls') ?? ''}`;
        found.push(...names.split(' ').filter((id) => id && !document.getElementById(id)).map((id) => `${id} is nowhere`));
    }
    return found;";

const ANSWER: &str = "Some *words*, `code`, [a link](https://a.example):\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted\n\n```js\nlet x;\n```";

#[actix_web::test]
async fn everything_can_be_read_and_has_a_name() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.platform.flowise.tell(system_tests::flowise::Rule::always(
        system_tests::flowise::Behaviour {
            reply: Some(ANSWER.to_owned()),
            ..Default::default()
        },
    ));
    for theme in ["light", "dark"] {
        browser.resize(420, 800).await;
        stage.open_page(&format!("&theme={theme}&language=en")).await;
        assert_eq!(
            strings(&browser.run(FAULTS).await),
            Vec::<String>::new(),
            "{theme}: empty"
        );
        stage.ask("A question").await;
        assert_eq!(
            strings(&browser.run(FAULTS).await),
            Vec::<String>::new(),
            "{theme}: a conversation"
        );
        browser.click("#drawerButton").await;
        browser.click("#list .quiet").await;
        assert_eq!(
            strings(&browser.run(FAULTS).await),
            Vec::<String>::new(),
            "{theme}: the list"
        );
        browser.press(ESCAPE).await;
        browser.press(ESCAPE).await;
        browser.click("#newChat").await;
    }
    browser.resize(1200, 800).await;
    assert_eq!(strings(&browser.run(FAULTS).await), Vec::<String>::new(), "wide");
    browser
        .run("document.querySelector('#subtitle').style.color = '#777'")
        .await;
    assert_eq!(
        strings(&browser.run(FAULTS).await).len(),
        1,
        "a fault would be found"
    );
}

#[actix_web::test]
async fn it_is_used_by_keyboard() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.visit().await;
    let root = "document.querySelector('#chat-widget-root').shadowRoot";
    browser
        .run(&format!("{root}.querySelector('.launcher').focus()"))
        .await;
    browser.press(system_tests::browser::ENTER).await;
    stage.enter().await;
    browser.until("document.activeElement.id === 'input'").await;
    stage.ask("Hello").await;
    browser.press(TAB).await;
    browser.until("document.activeElement.id === 'send'").await;
    browser
        .run("document.querySelector('#drawerButton').focus()")
        .await;
    browser.press(system_tests::browser::ENTER).await;
    browser.until("document.activeElement.className === 'open'").await;
    assert_eq!(
        browser.run("return document.querySelector('#main').inert").await,
        true,
        "what is behind is out of reach"
    );
    browser.press(ESCAPE).await;
    browser
        .until("document.activeElement.id === 'drawerButton'")
        .await;
    browser.press(ESCAPE).await;
    browser.leave().await;
    browser
        .until(&format!("{root}.activeElement?.className === 'launcher'"))
        .await;
    assert_eq!(
        browser
            .run(&format!(
                "return {root}.querySelector('.launcher').getAttribute('aria-expanded')"
            ))
            .await,
        "false"
    );
    browser.press(TAB).await;
    let inside = format!("return {root}.activeElement?.localName ?? null");
    assert_eq!(
        browser.run(&inside).await,
        Value::Null,
        "a closed chat is not on the keyboard's way"
    );
}

#[actix_web::test]
async fn everything_has_a_role_and_a_name() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    browser.resize(420, 800).await;
    stage.open_page("&language=en").await;
    assert_eq!(
        browser.heard("#input").await,
        ("textbox".to_owned(), "Write a message…".to_owned())
    );
    assert_eq!(
        browser.heard("#scroller").await,
        ("region".to_owned(), "Messages".to_owned())
    );
    assert_eq!(
        browser.heard("#drawerButton").await,
        ("button".to_owned(), "Conversations".to_owned())
    );
    assert_eq!(
        browser.heard("h1").await,
        ("heading".to_owned(), "Northwind".to_owned())
    );
    assert_eq!(browser.heard("#spoken").await.0, "status");
    stage.ask("Hello").await;
    assert_eq!(
        browser.heard(".mine").await,
        ("article".to_owned(), "You".to_owned())
    );
    assert_eq!(
        browser.heard(".theirs").await,
        ("article".to_owned(), "Assistant".to_owned())
    );
}

#[actix_web::test]
async fn it_speaks_every_language_and_honours_preferences() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    for (language, send) in [
        ("en", "Send"),
        ("zh", "发送"),
        ("es", "Enviar"),
        ("de", "Senden"),
        ("fr", "Envoyer"),
        ("ru", "Отправить"),
    ] {
        stage.open_page(&format!("&language={language}")).await;
        assert_eq!(browser.heard("#send").await.1, send);
        let page = "return [document.documentElement.lang, document.documentElement.dir, document.body.innerText.includes('undefined')]";
        assert_eq!(browser.run(page).await, json!([language, "ltr", false]));
    }
    stage.open_page("&language=ar").await;
    let turned = "return [document.documentElement.dir, document.querySelector('#drawerButton').getBoundingClientRect().left > innerWidth / 2]";
    browser.resize(420, 800).await;
    assert_eq!(browser.run(turned).await, json!(["rtl", true]));

    browser.prefer("prefers-color-scheme", "dark").await;
    let ground = "return getComputedStyle(document.body).backgroundColor";
    stage.open_page("&language=en").await;
    assert_eq!(browser.run(ground).await, "rgb(20, 23, 28)");
    stage.open_page("&language=en&theme=light").await;
    assert_eq!(browser.run(ground).await, "rgb(255, 255, 255)");
    browser.prefer("prefers-reduced-motion", "reduce").await;
    let moves = "const dots = document.createElement('span'); dots.className = 'dots'; dots.append(document.createElement('i'));
        document.body.append(dots); const name = getComputedStyle(dots.firstChild).animationName; dots.remove(); return name";
    assert_eq!(browser.run(moves).await, "none");
}

#[actix_web::test]
async fn what_is_typed_is_sent_as_people_expect() {
    let stage = Stage::with_flowise().await;
    let browser = &stage.browser;
    stage.open_page("&language=en").await;
    browser.run("const input = document.querySelector('#input'); input.value = 'half a word';
        input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true }))").await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.message').length")
            .await,
        0,
        "an input method's Enter is its own"
    );
    browser.run("document.querySelector('#input').value = 'x'.repeat(10001); document.querySelector('#input').dispatchEvent(new Event('input'))").await;
    assert_eq!(browser.text("#count").await, "1 characters too many");
    browser.click("#send").await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('.message').length")
            .await,
        0
    );
    browser.run("document.querySelector('#input').value = ''; document.querySelector('#input').dispatchEvent(new Event('input'))").await;
    browser.click(".chip:last-child").await;
    stage.until_last("complete").await;
    assert_eq!(
        browser.text(".mine .text").await,
        "When are you open?",
        "a suggestion says what it means"
    );
    assert_eq!(
        browser
            .run("return document.querySelector('#greeting').hidden")
            .await,
        true
    );
}
