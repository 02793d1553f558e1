import type { TranslationBundle } from '@jupyterlab/translation';

import { LoopError, messageOf } from './api';
import type { IValues } from './form';
import { fieldOf, NO_VALUES, wrong } from './form';
import type { LoopForm } from './loopform';
import type { IDefaults } from './newform';
import { NewLoopForm } from './newform';
import { told } from './notices';
import { changes, inGib, request, valuesOf } from './sent';
import { SettingsForm } from './settingsform';
import { StayingDialog } from './staying';
import type { ILoopManager, Loop } from './tokens';
import { editVaults } from './vaults';
import { fullTitle } from './words';

/** How long the dialog waits for what there is to pick from; it fills it in later otherwise. */
const CHOICES_MS = 200;

/** Fields that hold sizes in GiB. */
const SIZES: readonly (keyof IValues)[] = ['memory', 'shm'];

/**
 * Asks for a new loop and makes it.
 *
 * @param manager - Makes it.
 * @param trans - Translates.
 * @param defaults - What the form begins with.
 * @returns The loop; undefined when the person changed their mind.
 */
export function newLoop(
  manager: ILoopManager,
  trans: TranslationBundle,
  defaults: IDefaults
): Promise<Loop | undefined> {
  return ask(
    manager,
    trans,
    { ...NO_VALUES, ...defaults },
    {
      title: trans.__('New Loop'),
      accept: trans.__('Create'),
      form: NewLoopForm,
      send: (values, signal) => manager.create(request(values), signal)
    }
  );
}

/**
 * Asks what to change of a loop and changes it.
 *
 * @param manager - Changes it.
 * @param trans - Translates.
 * @param loop - The loop.
 * @returns The loop as it is then; undefined when the person changed their mind.
 */
export async function changeLoop(
  manager: ILoopManager,
  trans: TranslationBundle,
  loop: Loop
): Promise<Loop | undefined> {
  const path = `loops/${encodeURIComponent(loop.id)}`;
  const now = () => manager.call<Loop>('GET', path);
  const before = valuesOf(await now());
  return ask(manager, trans, before, {
    title: trans.__('Settings of “%1”', fullTitle(loop, manager)),
    accept: trans.__('Save'),
    form: SettingsForm,
    send: async (values, signal) => {
      // What others have changed meanwhile stays as they want it.
      const known = await now();
      const changed = changes(before, values, known.config);
      return changed === undefined || signal.aborted
        ? known
        : manager.change(loop.id, changed, signal);
    }
  });
}

interface IQuestion {
  title: string;
  /** Of the button that sends the form. */
  accept: string;
  form: new (...args: ConstructorParameters<typeof LoopForm>) => LoopForm;
  /** Does what the form says; the signal calls it off. */
  send: (values: IValues, signal: AbortSignal) => Promise<Loop>;
}

/** Shows a form until it is sent or closed, also while the vaults are edited in between. */
async function ask(
  manager: ILoopManager,
  trans: TranslationBundle,
  values: IValues,
  question: IQuestion
): Promise<Loop | undefined> {
  for (;;) {
    const answer = await askOnce(manager, trans, values, question);
    if (!answer.areVaultsWanted) {
      return answer.loop;
    }
    // What was typed is kept while the vaults are edited, and also where they cannot be.
    const { vault } = (values = answer.values);
    await told(trans, () => editVaults(manager, trans, vault));
  }
}

interface IAnswer {
  loop: Loop | undefined;
  values: IValues;
  areVaultsWanted: boolean;
}

async function askOnce(
  manager: ILoopManager,
  trans: TranslationBundle,
  values: IValues,
  question: IQuestion
): Promise<IAnswer> {
  let loop: Loop | undefined;
  let areVaultsWanted = false;
  const form = new question.form(trans, values, () => {
    areVaultsWanted = true;
    dialog.reject();
  });
  const calling = new AbortController();
  const send = async () => {
    const found = wrong(form.getValue());
    if (found !== undefined) {
      const messages = {
        missing: trans.__('Give the loop a title.'),
        'without repo': trans.__('Name the repo, too.'),
        'no number': trans.__('Give a number, such as 2 or 1.5.')
      };
      form.explain({ field: found.field, message: messages[found.why] });
      return false;
    }
    form.isBusy = true;
    try {
      loop = await question.send(form.getValue(), calling.signal);
      return true;
    } catch (error) {
      if (calling.signal.aborted) {
        return false;
      }
      const field =
        error instanceof LoopError ? fieldOf(error.field) : undefined;
      form.explain({
        field,
        message:
          field !== undefined && error instanceof LoopError
            ? SIZES.includes(field)
              ? inGib(error.besideField)
              : error.besideField
            : messageOf(error)
      });
      return false;
    } finally {
      form.isBusy = false;
    }
  };
  const dialog = new StayingDialog(
    {
      title: question.title,
      body: form,
      close: trans.__('Cancel'),
      accept: question.accept,
      focusNodeSelector: '#jp-loops-title'
    },
    send
  );
  const filled = manager.choices().then(choices => form.offer(choices));
  // Fields that come while somebody types would make the form jump.
  await Promise.race([
    filled,
    new Promise(resolve => setTimeout(resolve, CHOICES_MS))
  ]);
  await dialog.launch();
  // Who closes it while the loop is being made does not want it.
  calling.abort();
  return { loop, values: form.getValue(), areVaultsWanted };
}
