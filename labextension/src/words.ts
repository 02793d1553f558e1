import type { TranslationBundle } from '@jupyterlab/translation';

import { idOfTerminal } from './paths';
import type { Loop, Usage } from './tokens';

type Named = Pick<Loop, 'id' | 'title'>;

/** Titles that several loops have. */
export function repeated(loops: Iterable<Named>): Set<string> {
  const seen = new Set<string>();
  const found = new Set<string>();
  for (const { title } of loops) {
    (seen.has(title) ? found : seen).add(title);
  }
  return found;
}

/**
 * What tells a loop from others that are called the same: the beginning of its id.
 *
 * @param loop - The loop.
 * @param titles - Those that several loops have.
 * @returns Empty where no other has its title.
 */
export function apart(loop: Named, titles: ReadonlySet<string>): string {
  return titles.has(loop.title) ? loop.id.slice(0, 8) : '';
}

/** The title of a loop, with what tells it apart. */
export function titled(loop: Named, id: string): string {
  return id === '' ? loop.title : `${loop.title} (${id})`;
}

/**
 * Warnings that more than half of the loops have, and at least three: they are told once instead of in each row.
 *
 * @param loops - All that are not archived.
 * @returns How many loops have each.
 */
export function commonWarnings(
  loops: readonly Pick<Loop, 'warnings'>[]
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { warnings } of loops) {
    for (const warning of new Set(warnings)) {
      counts.set(warning, (counts.get(warning) ?? 0) + 1);
    }
  }
  const least = Math.max(3, loops.length / 2 + 0.5);
  return new Map([...counts].filter(([, count]) => count >= least));
}

/** The title of a loop, with the beginning of its id where others are called the same. */
export function fullTitle(
  loop: Named,
  known: { readonly repeated: ReadonlySet<string> }
): string {
  return titled(loop, apart(loop, known.repeated));
}

/** How long ago a time was, in the largest unit that fits. */
export function ago(
  text: string,
  trans: TranslationBundle,
  now = Date.now()
): string {
  const minutes = Math.floor((now - Date.parse(text)) / 60_000);
  if (minutes < 1) {
    return trans.__('just now');
  }
  if (minutes < 60) {
    return trans.__('%1 min ago', minutes);
  }
  if (minutes < 60 * 24) {
    return trans.__('%1 h ago', Math.floor(minutes / 60));
  }
  return trans.__('%1 d ago', Math.floor(minutes / (60 * 24)));
}

/** The state of a loop as a word and as a mark that does without colour. */
export function stateWords(
  loop: Pick<Loop, 'archived' | 'state' | 'progress' | 'build_failed'>,
  trans: TranslationBundle
): { word: string; mark: string } {
  if (loop.archived) {
    return { word: trans.__('archived'), mark: '○' };
  }
  if (isUnbuilt(loop)) {
    return { word: trans.__('build failed'), mark: '✕' };
  }
  switch (loop.state) {
    case 'running':
      return { word: trans.__('running'), mark: '●' };
    case 'stopped':
      return { word: trans.__('stopped'), mark: '○' };
    case 'error':
      return { word: trans.__('broken'), mark: '✕' };
    case 'preparing':
      return { word: stepWords(loop.progress, trans), mark: '◐' };
    default:
      return { word: trans.__('not started'), mark: '○' };
  }
}

/** Whether a loop does not run, and its image could not be built when it was started last. */
export function isUnbuilt(
  loop: Pick<Loop, 'archived' | 'state' | 'build_failed'>
): boolean {
  const { archived, state, build_failed } = loop;
  return !archived && build_failed && ['absent', 'stopped'].includes(state);
}

function stepWords(
  progress: Loop['progress'],
  trans: TranslationBundle
): string {
  if (progress === null) {
    return trans.__('starting');
  }
  return progress.steps > 0
    ? trans.__('%1 (%2 of %3)', progress.label, progress.step, progress.steps)
    : progress.label;
}

/** What runs in a loop, such as "1 kernel, 2 terminals"; empty when nothing does. */
export function insideWords(
  inUse: Partial<Loop['in_use']>,
  trans: TranslationBundle
): string {
  const { kernels = 0, terminals = 0, commands = 0 } = inUse;
  return [
    kernels && trans._n('%1 kernel', '%1 kernels', kernels, kernels),
    terminals && trans._n('%1 terminal', '%1 terminals', terminals, terminals),
    commands && trans._n('%1 command', '%1 commands', commands, commands)
  ]
    .filter(part => part !== 0)
    .join(', ');
}

/** What a loop was given besides its files, such as "vault work · profiles data, reports"; empty for nothing of its own. */
export function carriedWords(
  loop: Pick<Loop, 'vault' | 'profiles'>,
  trans: TranslationBundle
): string {
  const { vault, profiles } = loop;
  return [
    vault !== 'default' && trans.__('vault %1', vault),
    profiles.length > 0 &&
      trans._n(
        'profile %2',
        'profiles %2',
        profiles.length,
        profiles.join(', ')
      )
  ]
    .filter(Boolean)
    .join(' · ');
}

/** What ends with a sandbox, as a sentence; empty when nothing does. */
export function ending(
  loop: Pick<Loop, 'in_use'>,
  trans: TranslationBundle
): string {
  const inside = insideWords(loop.in_use, trans);
  return inside === '' ? '' : trans.__('This ends: %1.', inside);
}

/**
 * What ends with a sandbox, and what was not saved, as sentences; empty when nothing does and all was.
 *
 * @param loop - Whose sandbox ends.
 * @param unsaved - Names of documents with changes that were not saved.
 */
export function losing(
  loop: Pick<Loop, 'in_use'>,
  unsaved: readonly string[],
  trans: TranslationBundle
): string {
  const unsavedWords = trans.__('Not saved yet: %1.', unsaved.join(', '));
  return [ending(loop, trans), unsaved.length > 0 && unsavedWords]
    .filter(Boolean)
    .join(' ');
}

/** The name of a repo as a person calls it: the last part of its address, or the name it is registered under. */
export function repoName(repo: string): string {
  const last = repo.replace(/\/+$/, '').split(/[/:]/).pop() ?? repo;
  return last.replace(/\.git$/, '') || repo;
}

/**
 * Processor and memory of a loop between two looks.
 *
 * @param now - What it takes.
 * @param before - What it took at the look before; undefined at the first one, which tells memory alone.
 * @param elapsed_s - Seconds between the two.
 */
export function usageWords(
  now: Usage,
  before: Usage | undefined,
  elapsed_s: number,
  trans: TranslationBundle
): string {
  const memory = `${Math.round(now.memory_bytes / 2 ** 20)} MiB`;
  if (before === undefined || elapsed_s <= 0) {
    return memory;
  }
  const load = Math.max(0, ((now.cpu_s - before.cpu_s) / elapsed_s) * 100);
  return trans.__('%1 % · %2', Math.round(load), memory);
}

/**
 * What the tab of a terminal says: its loop, and what program or number it is.
 *
 * @param label - What it would say without a loop.
 * @param name - Of the terminal; those of loops begin with the loop's id.
 * @param known - All that are known.
 */
export function terminalTitle(
  label: string,
  name: string,
  known: Parameters<typeof fullTitle>[1] & { readonly loops: readonly Named[] },
  trans: TranslationBundle
): string {
  const id = idOfTerminal(name);
  const loop = id && known.loops.find(each => each.id.startsWith(id));
  if (!loop) {
    return label;
  }
  const title = fullTitle(loop, known);
  return label.includes(name)
    ? trans.__('%1: Terminal %2', title, name.slice(id.length + 1))
    : trans.__('%1: %2', title, label);
}

/** What a loop shows to others, such as "shares port 8000"; empty for nothing. */
export function sharedWords(
  share: Pick<Loop['share'], 'mode' | 'port' | 'protocol'>,
  trans: TranslationBundle
): string {
  switch (share.mode) {
    case 'off':
      return '';
    case 'static':
      return trans.__('shares files');
    case 'port':
      return trans.__('shares port %1', share.port);
    default:
      return trans.__('shares port %1/%2', share.port, share.protocol);
  }
}

/** What a loop can promote, what it is promoted most often first; the knowledge only where the loop may change it. */
export function promotable(
  loop: Pick<Loop, 'config' | 'contexts'>
): readonly Loop['contexts'][number]['kind'][] {
  const kinds = loop.contexts.map(context => context.kind);
  return (['notes', 'knowledge', 'personal'] as const).filter(
    kind =>
      kinds.includes(kind) &&
      (kind !== 'knowledge' || loop.config.knowledge_rw === true)
  );
}

/**
 * What an empty field of a loop's form stands for, such as "None (workspace’s setting)".
 *
 * @param word - The setting of the workspace; undefined while it is not known.
 */
export function ofWorkspace(
  word: string | undefined,
  trans: TranslationBundle
): string {
  return word === undefined
    ? trans.__('As the workspace says')
    : trans.__('%1 (workspace’s setting)', word);
}

/**
 * What is said beside the tabs of documents: the loop of each whose name another one has, too, somewhere else.
 *
 * @param tabs - The name of each, and its loop's title; undefined outside all loops.
 */
export function marks(
  tabs: readonly (readonly [string, string | undefined])[]
): (string | undefined)[] {
  const isElsewhere = ([name, loop]: (typeof tabs)[number]) =>
    tabs.some(other => other[0] === name && other[1] !== loop);
  return tabs.map(tab => (isElsewhere(tab) ? tab[1] : undefined));
}
