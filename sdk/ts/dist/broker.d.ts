/**
 * A broker of topics for pages that are made of components which know each other by topics only: partial addresses,
 * forms, errors and requests over one client.
 *
 * @packageDocumentation
 */
import { RopewalkError, type Rope } from "./index.js";
/** What is told of an error, as the topic `app:errors:` has it. Its texts are plain text, not HTML. */
export interface BrokerError {
    /** The code as words. */
    readonly title: string;
    readonly detail: string;
    readonly severity: "error" | "warning" | "info" | "success";
    readonly topic: string;
    readonly code: string;
    readonly hint: string;
}
/** Called with the resolved topic and its content. */
export type TopicCallback<T = any> = (topic: string, content: T) => void;
/** Called with the resolved topic and what is wrong with it. */
export type ErrorCallback = (topic: string, error: BrokerError) => void;
/** Says whether a value is bad. */
export type Validation = (topic: string, value: unknown) => boolean;
/** What the content is filtered by. */
export type Filter = object;
/** A subscription, or a request. */
export interface Token {
    /** The resolved topic; "" of a subscription to nothing. */
    readonly topic: string;
}
/** Options of a broker. */
export interface BrokerOptions {
    /** The application that partial addresses belong to. */
    app: string;
    /** Changes may come in place of whole contents; as for watch. Default true. */
    delta?: boolean | undefined;
    /** How long a topic is kept after its last subscription ended, such as when a page changes. Default 1,000 ms. */
    linger?: number | undefined;
}
/** Has every error, in its latest form; publishing nothing clears it. */
export declare const errorsTopic = "app:errors:";
/** Has all topics with their values, for looking at them: the newest first, values as text of at most 160 characters. */
export declare const allTopic = "app:all:";
/**
 * Topics by name. A topic is an address (`json:/app/x.json`), a path in the application (`/x.json`), or the name of a
 * topic of this page alone (`form.name`), which is never sent. Callbacks are called later than what causes them, never
 * before a method has returned, in the order of what happened and of subscribing.
 */
export declare class Broker {
    #private;
    /** The application that partial addresses belong to. */
    app: string;
    /** A broker over a client, which may have several. */
    constructor(rope: Rope, options: BrokerOptions);
    /**
     * Has `callback` called with the content of a topic, and with each that it becomes; what is known already comes at
     * once. Each subscription has a filter of its own. Without a topic nothing happens. On a client that is closed
     * `onError` is called, with `not_ready`.
     */
    subscribe<T = any>(topic: string | undefined, callback: TopicCallback<T>, onError?: ErrorCallback, filter?: Filter): Token;
    /**
     * Ends a subscription, or a request: its callbacks are not called any more. A topic of the page keeps its value, but
     * with `deleteData` when this was its last subscription. To end it twice, or to end nothing, does no harm.
     */
    unsubscribe(token: Token | undefined, deleteData?: boolean): void;
    /** Ends several. */
    unsubscribeAll(tokens: Iterable<Token | undefined>): void;
    /** Ends all subscriptions and requests of this broker. */
    close(): void;
    /**
     * Publishes a content. Subscribers of a topic of the server see it when the server has it, never if it is refused;
     * then they, and `app:errors:`, are told. `validate` is kept for {@link validationFailed}. The promise says what
     * became of it, and need not be awaited.
     */
    publish(topic: string, content: unknown, validate?: Validation): Promise<unknown>;
    /** Calls a topic: `callback` is called once, with the answer. */
    sendRequest<T = any>(topic: string, callback: TopicCallback<T>, onError?: ErrorCallback, content?: unknown): Token;
    /** Gives the subscriptions of a topic, or one, another filter. */
    changeFilter(which: string | Token, filter: Filter): void;
    /** Tells the subscribers of a topic, and `app:errors:`, that something is wrong with it. */
    error(topic: string, error: RopewalkError | (Partial<BrokerError> & Pick<BrokerError, "title" | "detail">)): void;
    /** What is wrong with a topic; undefined if nothing is. */
    lastError(topic: string): BrokerError | undefined;
    /** The newest content of a topic that is subscribed, or of the page; undefined if none is known. */
    getCurrentData<T = any>(topic: string): T | undefined;
    /** The topics of the page whose names begin so, by what follows the last dot: all of a form. */
    getData(root: string): Record<string, unknown>;
    /** Whether a value of the topics of the page whose names begin so is bad, as the validations of publish say. */
    validationFailed(root: string): boolean;
    /** Deletes a topic of the page, or a content on the server. */
    delete(topic: string): Promise<unknown>;
    /**
     * The address that a topic means. The first `${appName}` is the application, each other `${name}` the content of the
     * topic `name`. What has a colon is an address; what begins with a slash is in the application, its scheme as its
     * end says; anything else belongs to the page.
     */
    resolve(topic: string, stripField?: boolean): string;
    /** What follows the `#`: `name` of `form#name`; "" if nothing does. */
    getFieldName(topic: string): string;
}
