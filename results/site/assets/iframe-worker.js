// Search from file://: browsers refuse workers there, so that a hidden frame runs the same script.
// The theme loads such a script before its own; on a web server it changes nothing.
(() => {
    if (location.protocol !== "file:") return;

    class IFrameWorker extends EventTarget {
        #frame = document.createElement("iframe");
        #waiting = [];

        constructor(address) {
            super();
            const url = new URL(address, document.baseURI).href;
            this.#frame.hidden = true;
            this.#frame.title = "search";
            this.#frame.setAttribute("aria-hidden", "true");
            this.#frame.addEventListener("load", () => this.#start(url), { once: true });
            document.documentElement.append(this.#frame);
        }

        #start(url) {
            const inside = this.#frame.contentWindow;
            // What a worker sends to its owner. A window would send it to itself.
            inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
            const script = inside.document.createElement("script");
            script.addEventListener("load", () => {
                const waiting = this.#waiting;
                this.#waiting = null;
                for (const data of waiting) this.postMessage(data);
            });
            script.src = url;
            inside.document.head.append(script);
        }

        postMessage(data) {
            if (this.#waiting) {
                this.#waiting.push(data);
                return;
            }
            const inside = this.#frame.contentWindow;
            // Like a message it arrives later, not inside of this call.
            inside.setTimeout(() =>
                inside.dispatchEvent(new inside.MessageEvent("message", { data })),
            );
        }

        terminate() {
            this.#frame.remove();
        }
    }

    // The search script looks for this name to know where it runs.
    window.IFrameWorker = IFrameWorker;
    window.Worker = IFrameWorker;
})();
