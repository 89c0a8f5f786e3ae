// The texts of a page whose contrast with what is behind them is too low (WCAG 2.2, 1.4.3), and how
// many texts were looked at.
() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const parse = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], below) =>
        [r, g, b].map((value, place) => value * a + below[place] * (1 - a)).concat(1);
    const behind = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour[3] > 0) layers.unshift(colour);
            if (colour[3] === 1) break;
        }
        return layers.reduce((below, colour) => over(colour, below), [255, 255, 255, 1]);
    };
    const luminance = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((value) => {
            const share = value / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const seen = new Set();
    const low = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || seen.has(element)) continue;
        if (element.closest("script, style, noscript, option, svg title")) continue;
        if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
        seen.add(element);
        const style = getComputedStyle(element);
        const below = behind(element);
        const ink = parse(element.closest("svg") ? style.fill : style.color);
        for (let at = element; at; at = at.parentElement) ink[3] *= getComputedStyle(at).opacity;
        const colour = over(ink, below);
        const [light, dark] = [luminance(colour), luminance(below)].sort((a, b) => b - a);
        const ratio = (light + 0.05) / (dark + 0.05);
        if (ratio < 4.5) {
            const name = `${element.tagName}.${element.getAttribute("class")}`;
            low.push(`${ratio.toFixed(2)} ${name} "${walker.currentNode.data.trim().slice(0, 40)}"`);
        }
    }
    return { low, texts: seen.size };
}
