import type { IVault } from './tokens';

/** The vault of a loop that names none; it is made when it gets its first variable. */
export const DEFAULT_VAULT = 'default';

/** The values of the forms of a loop; empty texts mean "as the workspace says". */
export interface IValues {
  title: string;
  repo: string;
  ref: string;
  profiles: readonly string[];
  vault: string;
  image: string;
  network: '' | 'bridge' | 'none';
  isolation: '' | 'nested' | 'strict' | 'privileged';
  knowledge: '' | 'changed';
  cpus: string;
  /** In GiB. */
  memory: string;
  pids: string;
  /** Size of `/dev/shm` in GiB. */
  shm: string;
  /** Names, with spaces or commas between them. */
  devices: string;
  tmp: '' | 'private' | 'shared';
}

/** A form in which nothing was filled in. */
export const NO_VALUES: IValues = {
  title: '',
  repo: '',
  ref: '',
  profiles: [],
  vault: '',
  image: '',
  network: '',
  isolation: '',
  knowledge: '',
  cpus: '',
  memory: '',
  pids: '',
  shm: '',
  devices: '',
  tmp: ''
};

/** The fields of a server's problem, and where they are in the form. */
const FIELDS: Record<string, keyof IValues> = {
  title: 'title',
  repo: 'repo',
  ref: 'ref',
  profiles: 'profiles',
  vault: 'vault',
  image: 'image',
  'config.network': 'network',
  'config.isolation': 'isolation',
  'config.knowledge_rw': 'knowledge',
  'config.resources.cpus': 'cpus',
  'config.resources.memory_bytes': 'memory',
  'config.resources.pids': 'pids',
  'config.resources.shm_size_bytes': 'shm',
  'config.resources.devices': 'devices',
  'config.shared_tmp': 'tmp'
};

/** Fields that are folded away until somebody wants them. */
export const ADVANCED: readonly (keyof IValues)[] = [
  'image',
  'network',
  'isolation',
  'knowledge',
  'cpus',
  'memory',
  'pids',
  'shm',
  'devices',
  'tmp'
];

const NUMBERS = ['cpus', 'memory', 'pids', 'shm'] as const;

/**
 * The field of the form that a problem is about.
 *
 * @param named - As the server names it, such as `config.network` or `profiles[0]`.
 * @returns Undefined when the problem is about none of them.
 */
export function fieldOf(
  named: string | null | undefined
): keyof IValues | undefined {
  return FIELDS[(named ?? '').replace(/\[\d+\]$/, '')];
}

/**
 * What can be said against the values without asking the server.
 *
 * @returns The first field that is wrong and why: a missing title, a ref without a repo, a limit that is no number.
 */
export function wrong(
  values: IValues
):
  | { field: keyof IValues; why: 'missing' | 'without repo' | 'no number' }
  | undefined {
  if (values.title.trim() === '') {
    return { field: 'title', why: 'missing' };
  }
  if (values.ref.trim() !== '' && values.repo.trim() === '') {
    return { field: 'ref', why: 'without repo' };
  }
  const field = NUMBERS.find(each => !Number.isFinite(Number(values[each])));
  return field && { field, why: 'no number' };
}

/**
 * The vaults to pick from, each once: the default one first, whether it is there or not.
 *
 * @param known - Those that are there.
 * @param chosen - The one that is picked, which may be gone; empty for the default one.
 */
export function vaultsOffered(
  known: readonly IVault[],
  chosen = ''
): readonly IVault[] {
  const offered = new Map<string, IVault>(
    [DEFAULT_VAULT, chosen || DEFAULT_VAULT].map(name => [name, { name }])
  );
  known.forEach(vault => offered.set(vault.name, vault));
  return [...offered.values()];
}

/** A list with one entry moved up by one place; the first stays where it is. */
export function movedUp(
  list: readonly string[],
  entry: string
): readonly string[] {
  const index = list.indexOf(entry);
  if (index < 1) {
    return list;
  }
  const moved = [...list];
  [moved[index - 1], moved[index]] = [moved[index], moved[index - 1]];
  return moved;
}

/** Of a dialog's two buttons, the one that accepts. */
export const ACCEPT = 1;

/**
 * What a person meant who closed a dialog that stays open while it works.
 *
 * @param index - Of the button; undefined for Enter in a field. Up to JupyterLab 4.5, -1 for Enter on a button of the form.
 * @param hasAccept - Whether there is a button that accepts.
 */
export function meant(
  index: number | undefined,
  hasAccept: boolean
): 'work' | 'press' | 'close' {
  if (index === -1) {
    return 'press';
  }
  return hasAccept && (index ?? ACCEPT) === ACCEPT ? 'work' : 'close';
}
