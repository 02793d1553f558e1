import type { IValues } from './form';
import { DEFAULT_VAULT, NO_VALUES } from './form';
import type { Loop, LoopChanges, NewLoop } from './tokens';

type Config = Loop['config'];

const GIB = 2 ** 30;

/** What a form says, as the server takes it; null for what the workspace decides. */
interface IChosen {
  title: string;
  vault: string;
  image: string | null;
  config: Pick<Config, 'network' | 'isolation' | 'shared_tmp' | 'knowledge_rw'>;
  resources: Config['resources'];
}

function chosen(values: IValues): IChosen {
  return {
    title: values.title.trim(),
    vault: values.vault || DEFAULT_VAULT,
    image: values.image.trim() || null,
    config: {
      network: values.network || null,
      isolation: values.isolation || null,
      shared_tmp: values.tmp === '' ? null : values.tmp === 'shared',
      knowledge_rw: values.knowledge === 'changed' || null
    },
    resources: {
      cpus: number(values.cpus),
      memory_bytes: bytes(values.memory),
      pids: number(values.pids),
      shm_size_bytes: bytes(values.shm),
      devices: values.devices.match(/[^\s,]+/g)
    }
  };
}

function number(text: string): number | null {
  return text.trim() === '' ? null : Number(text);
}

function bytes(text: string): number | null {
  const size_gib = number(text);
  return size_gib === null ? null : Math.round(size_gib * GIB);
}

/** The request for a new loop that the values stand for; what is empty is left out. */
export function request(values: IValues): NewLoop {
  const { title, image, config, resources } = chosen(values);
  const own = {
    ...given(config),
    ...(isAny(given(resources)) && { resources: given(resources) })
  };
  return {
    title,
    ...given({
      repo: values.repo.trim() || null,
      ref: values.ref.trim() || null,
      vault: values.vault || null,
      image
    }),
    ...(values.profiles.length > 0 && { profiles: [...values.profiles] }),
    ...(isAny(own) && { config: own })
  };
}

/** The values that the form of a loop's settings begins with. */
export function valuesOf(
  loop: Pick<Loop, 'title' | 'vault' | 'image' | 'config'>
): IValues {
  const { network, isolation, shared_tmp, knowledge_rw, resources } =
    loop.config;
  return {
    ...NO_VALUES,
    title: loop.title,
    vault: loop.vault,
    image: loop.image ?? '',
    network: network ?? '',
    isolation: isolation ?? '',
    knowledge: knowledge_rw ? 'changed' : '',
    tmp: shared_tmp === null ? '' : shared_tmp ? 'shared' : 'private',
    cpus: String(resources.cpus ?? ''),
    memory: gib(resources.memory_bytes),
    pids: String(resources.pids ?? ''),
    shm: gib(resources.shm_size_bytes),
    devices: resources.devices?.join(' ') ?? ''
  };
}

/** A size as a person reads it; it is sent only if they change it. */
export function gib(size_bytes: number | null): string {
  return size_bytes === null
    ? ''
    : String(Number((size_bytes / GIB).toPrecision(4)));
}

/** What the server says of a size in bytes, as a person who gave it in GiB reads it. */
export function inGib(message: string): string {
  return message.replace(
    /a whole number of (at least|at most) (\d+)/,
    (_, bound: string, size_bytes: string) =>
      `${bound} ${Math.ceil((Number(size_bytes) / GIB) * 1000) / 1000}`
  );
}

/**
 * What a form of settings changed.
 *
 * @param before - What it began with.
 * @param after - What it says now.
 * @param config - The settings of the loop as they are; the server replaces all of them at once.
 * @returns Undefined when nothing was changed.
 */
export function changes(
  before: IValues,
  after: IValues,
  config: Config
): LoopChanges | undefined {
  const { config: wasOwn, resources: wasLimits, ...was } = chosen(before);
  const { config: isOwn, resources: isLimits, ...is } = chosen(after);
  const own = differing(wasOwn, isOwn);
  const limits = differing(wasLimits, isLimits);
  const changed: LoopChanges = differing(was, is);
  if (isAny(own) || isAny(limits)) {
    const resources = { ...config.resources, ...limits };
    changed.config = { ...config, ...own, resources };
  }
  return isAny(changed) ? changed : undefined;
}

type Given<T> = { [K in keyof T]?: NonNullable<T[K]> };

function given<T extends object>(all: T): Given<T> {
  return only(all, value => value !== null) as Given<T>;
}

function differing<T extends object>(before: T, after: T): Partial<T> {
  const text = (value: unknown) => JSON.stringify(value);
  return only(
    after,
    (value, name) => text(value) !== text(before[name as keyof T])
  );
}

function only<T extends object>(
  all: T,
  fits: (value: unknown, name: string) => boolean
): Partial<T> {
  const kept = Object.entries(all).filter(([name, value]) => fits(value, name));
  return Object.fromEntries(kept) as Partial<T>;
}

function isAny(some: object): boolean {
  return Object.keys(some).length > 0;
}
